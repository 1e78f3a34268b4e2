"""What every stage owes to those who watch it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from l0_calibrate.watch import Progress, Watch


def check_can_be_stopped(run: Callable[[Watch], object]) -> None:
    """What a watch raises reaches the caller of ``run``, which must report at least once."""

    class Stopped(Exception):
        pass

    def stop(event: Progress) -> None:
        raise Stopped

    with pytest.raises(Stopped):
        run(stop)
