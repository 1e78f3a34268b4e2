"""The options of a `Calibration` one by one, read and set as attributes: as users of microcalibrate do after tuning."""

from __future__ import annotations

from typing import Any

import attrs

from l0_calibrate.microcalibrate.settings import GateOptions, TrainingOptions


def _option(group: str, name: str, kind: type) -> Any:
    """A property that reads a field of the options and sets it by way of their validators."""

    def read(self: Any) -> Any:
        return getattr(getattr(self, group), name)

    def write(self: Any, value: Any) -> None:
        setattr(self, group, attrs.evolve(getattr(self, group), **{name: value}))

    return property(read, write, doc=f"See `{kind.__name__}`; what is set counts from the next `calibrate` on.")


class OptionAttributes:
    """Each field of `TrainingOptions` and `GateOptions` under its name; a value that cannot be is refused."""

    training: TrainingOptions
    gates: GateOptions

    epochs = _option("training", "epochs", TrainingOptions)
    noise_level = _option("training", "noise_level", TrainingOptions)
    learning_rate = _option("training", "learning_rate", TrainingOptions)
    dropout_rate = _option("training", "dropout_rate", TrainingOptions)
    device = _option("training", "device", TrainingOptions)
    seed = _option("training", "seed", TrainingOptions)
    batch_size = _option("training", "batch_size", TrainingOptions)
    loss = _option("training", "loss", TrainingOptions)
    l0_lambda = _option("gates", "l0_lambda", GateOptions)
    init_mean = _option("gates", "init_mean", GateOptions)
    temperature = _option("gates", "temperature", GateOptions)
    sparse_learning_rate = _option("gates", "sparse_learning_rate", GateOptions)
