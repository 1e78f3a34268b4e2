"""Checkpoints: the selection of a run on disk, so that a run that was cut off goes on after it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from zipfile import BadZipFile

import attrs
import numpy as np

from l0_calibrate.folders import check_file, file_transaction
from l0_calibrate.options import Options
from l0_calibrate.problem import CalibrationProblem
from l0_calibrate.selectors.base import Selected
from l0_calibrate.solvers.base import Start
from l0_core import InputError, Selection

_FORMAT = 3
_ZIP = b"PK\x03\x04"
"""How a checkpoint begins, cut off or not."""
_FREE = ("time_limit", "threads", "tol", "unreachable", "areas")
"""Options that may differ between the run that stopped and the one that goes on."""


def _signature(options: Options) -> str:
    fields = {k: v for k, v in options.as_dict().items() if k not in _FREE}
    for name in ("must_keep", "never_keep", "max_weight"):
        values = getattr(options, name)
        if np.ndim(values):
            fields[name] = hashlib.sha256(np.asarray(values).tobytes()).hexdigest()
    if options.groups is not None:
        fields["groups"] = hashlib.sha256("\n".join(map(str, options.groups)).encode()).hexdigest()
    return json.dumps(fields, sort_keys=True, default=str)


def _differing(stored: str, given: str) -> tuple[str, str]:
    """Of two signatures the options that are not the same."""
    fields = [json.loads(signature) for signature in (stored, given)]
    names = [name for name in sorted({*fields[0], *fields[1]}) if fields[0].get(name) != fields[1].get(name)]
    first, second = (", ".join(f"{name}={options.get(name)}" for name in names) for options in fields)
    return first, second


def _refuse(path: Path, what: str, stored: str, given: str) -> InputError:
    return InputError(
        f"checkpoint {path} belongs to another run: its {what} {stored}, this run's {given}; "
        "give the same input, name another checkpoint file, or delete it"
    )


@attrs.frozen
class Checkpoint:
    """A file that holds the selection and the warm start of the refit.

    Parameters
    ----------
    path
        The file (``.npz``), written whole or not at all.
    resume
        Whether an existing file is gone on from; without it the selection is made anew. A file of another problem or
        other options is refused either way: what took hours may be in it.
    """

    path: Path = attrs.field(converter=Path)
    resume: bool = False

    def check(self) -> None:
        """InputError where the file could not be written: asked before the selection that it is to keep."""
        try:
            check_file(self.path)
        except InputError as error:
            raise InputError(f"checkpoint {error}") from None
        if self.path.exists():
            self._stored(("format",))  # a file of something else is not written over

    def _stored(self, wanted: tuple[str, ...] | None = None) -> dict[str, np.ndarray]:
        """What the file holds (of some names, if given); InputError where it is not a checkpoint of this version."""
        foreign = False
        try:
            # Opened here: where the content is broken, np.load would leave the file open.
            with open(self.path, "rb") as raw:
                begins = raw.read(len(_ZIP))
                foreign = begins != _ZIP[: len(begins)]
                raw.seek(0)
                with np.load(raw, allow_pickle=False) as file:
                    names = file.files
                    stored = {name: file[name] for name in (names if wanted is None else wanted) if name in names}
        except (OSError, ValueError, TypeError, AttributeError, EOFError, BadZipFile) as error:
            if foreign:
                raise InputError(f"{self.path} is not a checkpoint but something else; name another file") from None
            raise InputError(
                f"checkpoint {self.path} cannot be read ({error}); delete it and start again, or name another file"
            ) from error
        mark = stored.get("format")
        if mark is None or mark.dtype.kind != "i" or int(mark) != _FORMAT or {"digest", "options"} - set(names):
            raise InputError(
                f"{self.path} is not a checkpoint of this version; delete it and start again, or name another file"
            )
        return stored

    def holds(self, problem: CalibrationProblem, options: Options) -> bool:
        """Whether the file is there; InputError where it is that of another run."""
        if not self.path.is_file():
            return False
        stored = self._stored(("format", "digest", "options"))
        if str(stored["digest"]) != problem.digest:
            raise _refuse(self.path, "problem is", str(stored["digest"])[:16], problem.digest[:16])
        if str(stored["options"]) != _signature(options):
            raise _refuse(self.path, "options have", *_differing(str(stored["options"]), _signature(options)))
        return True

    def load(self, problem: CalibrationProblem, options: Options) -> Selected | None:
        """The stored selection, or None when there is nothing to go on from; InputError as `holds`."""
        if not self.holds(problem, options) or not self.resume:
            return None
        stored = self._stored()
        selection = Selection(
            stored["indices"],
            int(stored["total"]),
            kinds=stored.get("kinds"),
            scores=stored.get("scores"),
            inclusion_probabilities=stored.get("inclusion_probabilities"),
        )
        start = Start(stored["u"], stored["y"], float(stored["mass_dual"])) if "u" in stored else None
        return Selected(selection, start, tuple(stored["notes"].tolist()))

    def store(self, problem: CalibrationProblem, options: Options, selected: Selected) -> None:
        """Write the file beside its place, then move it there."""
        selection, start = selected.selection, selected.start
        arrays: dict[str, np.ndarray] = {
            "format": np.array(_FORMAT),
            "digest": np.array(problem.digest),
            "options": np.array(_signature(options)),
            "indices": selection.indices,
            "total": np.array(selection.total),
            "notes": np.array(selected.notes, dtype=np.str_),
        }
        for name in ("kinds", "scores", "inclusion_probabilities"):
            value = getattr(selection, name)
            if value is not None:
                arrays[name] = value
        if start is not None and start.u is not None and start.y is not None:
            arrays |= {"u": start.u, "y": start.y, "mass_dual": np.array(start.mass_dual)}
        with file_transaction(self.path) as scratch, open(scratch, "wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
