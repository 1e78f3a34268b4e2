"""Settings of every test.

Examples are drawn in the same way in each run, so that a red run can be repeated. BLAS and torch take one thread: as
many for each of the workers that share the tests out wait for one another, and take twice the time.
"""

from __future__ import annotations

import os

from hypothesis import settings

for _library in ("OMP", "OPENBLAS", "MKL"):
    os.environ.setdefault(f"{_library}_NUM_THREADS", "1")  # read when the library is loaded; processes begun here too

settings.register_profile("repeatable", derandomize=True, deadline=None, print_blob=True)
settings.load_profile("repeatable")
