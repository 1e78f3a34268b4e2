"""How much smaller and faster a compact model is."""

from __future__ import annotations

import time
from typing import Any

import attrs
import torch
from torch import nn

from l0_torch.compaction.compact import check_equal, evaluated


@attrs.frozen
class SizeReport:
    """A model and its compact twin, side by side.

    Parameters
    ----------
    parameters, bytes, milliseconds
        (before, after): numbers in parameters, bytes of parameters and buffers, best time of one evaluation.
    largest_difference
        Of the outputs on the example input; None where they were not compared.
    """

    parameters: tuple[int, int]
    bytes: tuple[int, int]
    milliseconds: tuple[float, float]
    largest_difference: float | None

    def __str__(self) -> str:
        rows = [
            f"parameters    {self.parameters[0]:>12,} -> {self.parameters[1]:>12,}",
            f"bytes         {self.bytes[0]:>12,} -> {self.bytes[1]:>12,}",
            f"milliseconds  {self.milliseconds[0]:>12.3f} -> {self.milliseconds[1]:>12.3f}",
        ]
        if self.largest_difference is not None:
            rows.append(f"largest difference of outputs {self.largest_difference:.2e}")
        return "\n".join(rows)


def model_bytes(model: nn.Module) -> int:
    """Bytes of the parameters and buffers."""
    return sum(t.numel() * t.element_size() for t in (*model.parameters(), *model.buffers()))


def best_milliseconds(model: nn.Module, *example: Any, repeats: int = 20) -> float:
    """The least time of one evaluation (a CUDA device is waited for)."""
    cuda = any(p.is_cuda for p in model.parameters())
    best = float("inf")
    for _ in range(repeats + 1):  # the first is a warm-up like any other: the least counts
        start = time.perf_counter()
        evaluated(model, *example)
        if cuda:
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return best * 1e3


def size_report(model: nn.Module, small: nn.Module, *example: Any, repeats: int = 20, equal: bool = True) -> SizeReport:
    """Compare a model with its compact twin on an example input.

    Parameters
    ----------
    equal
        Whether their outputs must be equal; switch it off to compare with the dense model one started from.

    Raises
    ------
    CompactionError
        Their outputs differ by more than rounding.
    """
    return SizeReport(
        parameters=(sum(p.numel() for p in model.parameters()), sum(p.numel() for p in small.parameters())),
        bytes=(model_bytes(model), model_bytes(small)),
        milliseconds=(
            best_milliseconds(model, *example, repeats=repeats),
            best_milliseconds(small, *example, repeats=repeats),
        ),
        largest_difference=check_equal(model, small, *example) if equal else None,
    )
