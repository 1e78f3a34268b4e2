"""The bundled real problem: ``us_national_small`` (see its README for the sources and licences)."""

from __future__ import annotations

from importlib.resources import as_file, files

from l0_calibrate.problem import CalibrationProblem


def load_demo() -> CalibrationProblem:
    """5,000 Census CPS records and 167 totals of the IRS and USDA for 2022."""
    with as_file(files("l0_calibrate.demo") / "us_national_small") as folder:
        return CalibrationProblem.load(folder)
