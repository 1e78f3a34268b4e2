"""The names of the face at the top of the package."""

from __future__ import annotations

import subprocess
import sys


def test_names_at_the_top_and_the_function_behind_its_module():
    code = (
        "import sys, l0_calibrate\n"
        "assert not {'torch', 'pandas', 'numba'} & set(sys.modules)\n"
        "import l0_calibrate.calibrate\n"
        "from l0_calibrate import calibrate, Calibration, reweight, metrics\n"
        "assert callable(calibrate) and callable(reweight)\n"
        "assert 'torch' not in sys.modules\n"
        "for name in l0_calibrate.__all__:\n"
        "    getattr(l0_calibrate, name)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
