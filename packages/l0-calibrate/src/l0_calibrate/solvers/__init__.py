"""Which weights, given the records."""

from l0_calibrate.solvers.base import Machine, Solution, Solver, Start, Stop, Task

__all__ = ["Machine", "Solution", "Solver", "Start", "Stop", "Task"]
