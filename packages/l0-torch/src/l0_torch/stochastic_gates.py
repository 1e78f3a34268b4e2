"""What every set of Hard Concrete gates in torch has, whatever its parameter is called."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from l0_core.distributions.hard_concrete import HardConcrete as HardConcreteLaw
from l0_torch.noise import NoiseSource

_TEMPERATURE = "l0_torch.temperature"
_HALVES = (torch.float16, torch.bfloat16)


class StochasticGates(nn.Module):
    """Gates with one logit each and a Hard Concrete law; the model-wide functions find every one of them.

    A subclass has a parameter of logits (log alpha) under the name `logits_name`. All mathematics is that
    of `l0_core.HardConcrete`, taken in float32 where the parameter is in half precision.

    The temperature is in the metadata of the state dict: loaded gates are those that were saved. A state dict
    without it (of another package, or copied into a plain dict) leaves the temperature as it is.

    Noise under `DistributedDataParallel`: without a seed every process draws from its own generator, so
    gates differ between ranks as dropout masks do when ranks are seeded differently, and the averaged
    gradient is that of the mean over ranks. Give all ranks the same ``seed`` for the same gates on all.
    With activation checkpointing leave the seed out (see `NoiseSource`).

    Parameters
    ----------
    law
        The distribution of each gate.
    rule
        The deterministic rule of evaluation, ``"median"`` or ``"paper"``.
    seed
        See `NoiseSource`.
    """

    logits_name: ClassVar[str]

    def __init__(self, law: HardConcreteLaw, rule: str = "median", seed: int | None = None) -> None:
        super().__init__()
        law.check_rule(rule)
        self._law = law
        self.rule = rule
        self.noise = NoiseSource(seed)

    @property
    def distribution(self) -> HardConcreteLaw:
        """The law of each gate at the current temperature."""
        return self._law

    @property
    def temperature(self) -> float:
        """beta of the law; set it to anneal."""
        return self._law.temperature

    @temperature.setter
    def temperature(self, value: float) -> None:
        self._law = self._law.with_temperature(value)

    @property
    def beta(self) -> float:
        """The temperature, by the paper's name; set it to anneal."""
        return self.temperature

    @beta.setter
    def beta(self, value: float) -> None:
        self.temperature = value

    @property
    def gamma(self) -> float:
        """Lower end of the stretch, below 0."""
        return self._law.gamma

    @property
    def zeta(self) -> float:
        """Upper end of the stretch, above 1."""
        return self._law.zeta

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        # Beside torch's own version number, so that the names of the state dict stay those of the parameters.
        if hasattr(destination, "_metadata"):
            destination._metadata[prefix[:-1]][_TEMPERATURE] = self.temperature

    def _load_from_state_dict(self, state_dict: Any, prefix: str, local_metadata: Any, *others: Any) -> None:
        self.temperature = local_metadata.get(_TEMPERATURE, self.temperature)
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *others)

    def seed_noise(self, seed: int | None) -> None:
        """Draw from a generator of this seed from now on (``None``: from torch's own)."""
        self.noise = NoiseSource(seed)

    @property
    def opening_logit(self) -> float:
        """The logit above which a gate is open in evaluation, by the rule."""
        return self._law.zero_threshold / (self._law.temperature if self.rule == "paper" else 1.0)

    @property
    def logits(self) -> nn.Parameter:
        """The parameter itself, or what `torch.func.functional_call` puts in its place."""
        logits: nn.Parameter = getattr(self, self.logits_name)
        return logits

    def full_logits(self) -> Tensor:
        """The logits, in float32 where the parameter is in half precision."""
        logits = self.logits
        return logits.float() if logits.dtype in _HALVES else logits

    def sample_gates(self) -> Tensor:
        """One draw of every gate, differentiable; shape and dtype of the logits."""
        log_alpha = self.full_logits()
        uniform = self.noise.uniform(tuple(log_alpha.shape), log_alpha.dtype, log_alpha.device)
        gates: Tensor = self._law.sample(log_alpha, uniform)
        return gates.to(self.logits.dtype)

    def deterministic_gates(self) -> Tensor:
        """Every gate of evaluation, by the rule; shape and dtype of the logits."""
        gates: Tensor = self._law.deterministic(self.full_logits(), self.rule)
        return gates.to(self.logits.dtype)

    def current_gates(self) -> Tensor:
        """A draw in train mode, the deterministic gates in eval mode."""
        return self.sample_gates() if self.training else self.deterministic_gates()

    def open_probability(self) -> Tensor:
        """P(gate != 0) of each gate, shape of the logits, differentiable."""
        probability: Tensor = self._law.open_probability(self.full_logits())
        return probability

    def open_mean(self) -> Tensor:
        """E[gate | gate != 0] of each gate, in (0, 1]: what an item that is known to be kept counts for."""
        mean: Tensor = self._law.mean(self.full_logits()) / self.open_probability()
        return mean

    def opens(self) -> Tensor:
        """Boolean, shape of the logits: which gates are open in evaluation."""
        opened: Tensor = self.deterministic_gates().detach() > 0
        return opened

    def scores(self) -> Tensor:
        """What gates are ranked by: the log-odds of being open, without a gradient."""
        return (self.full_logits() - self._law.zero_threshold).detach()

    def get_penalty(self) -> Tensor:
        """The expected number of open gates, a scalar, differentiable (Louizos et al. 2018, eq. 12)."""
        return self.open_probability().sum()

    def get_active_prob(self) -> Tensor:
        """P(gate != 0) of each gate, differentiable: `open_probability` by the name that users of l0-python know."""
        return self.open_probability()

    @torch.no_grad()
    def get_sparsity(self) -> float:
        """The expected share of closed gates, in [0, 1]."""
        return 1.0 - float(self.open_probability().double().mean())

    def get_num_active(self) -> int:
        """The number of gates that are open in evaluation (by the median rule: open with probability over 1/2)."""
        return int(self.opens().sum())


def named_gates(model: nn.Module) -> Iterator[tuple[str, StochasticGates]]:
    """(path, gates) of every set of gates in a model, itself included, each once."""
    for name, module in model.named_modules():
        if isinstance(module, StochasticGates):
            yield name, module


def gate_logits(model: nn.Module) -> set[nn.Parameter]:
    """The logits of every gate in a model."""
    return {gates.logits for _, gates in named_gates(model)}


def update_temperatures(model: nn.Module, temperature: float) -> None:
    """Set the temperature of every gate in a model.

    Raises
    ------
    InputError
        For a temperature that is not positive and finite.
    """
    for _, gates in named_gates(model):
        gates.temperature = temperature


# Formulas look up their namespace by the type of array. Asked for once here, the answer is known
# before a compiler traces a forward pass.
for _array in (torch.zeros(1), nn.Parameter(torch.zeros(1))):
    HardConcreteLaw().open_probability(_array)
del _array
