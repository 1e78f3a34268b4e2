"""Gates on records and features as modules: what is kept, in the count asked for, whatever the mode."""

from __future__ import annotations

import warnings
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from l0_core.errors import InputError, UntrainedWarning
from l0_core.real_numbers import is_number
from l0_core.selection import check_count, check_seed, share_out, top_k
from l0_torch.hard_concrete import HardConcrete, check_size
from l0_torch.learning import LearningSettings, learn_features, learn_records
from l0_torch.taking import check_length, refuse_not_finite, take

_SEED = 0
"""Of ties and gate noise where none is given: the same call gives the same answer in any process."""


def _start(count: int, size: int) -> float:
    """The open probability at which the expected count is ``count`` (half a gate less where that is all)."""
    return min(count, size - 0.5) / size


def _times(values: Tensor, gates: Tensor) -> Tensor:
    """``values * gates`` in the precision of the values, or in that of the gates where the values are whole numbers."""
    return values * (gates.to(values.dtype) if values.is_floating_point() else gates)


class L0Gate(nn.Module):
    """A vector of Hard Concrete gates to multiply data with.

    Parameters
    ----------
    size
        Number of gates.
    temperature
        beta > 0.
    init_mean
        The probability with which each gate is open at first.
    seed
        Of ties and of the gates' own noise; torch's generator is not touched.
    """

    def __init__(self, size: int, temperature: float = 0.5, init_mean: float = 0.5, *, seed: int = _SEED) -> None:
        super().__init__()
        self.size = check_size("size", size)
        self.init_mean = init_mean
        self.seed = seed
        self.gates = HardConcrete(size, temperature=temperature, init_mean=init_mean, seed=seed)

    @property
    def temperature(self) -> float:
        """beta of the gates; set it to anneal."""
        return self.gates.temperature

    @temperature.setter
    def temperature(self, value: float) -> None:
        self.gates.temperature = value

    @property
    def is_trained(self) -> bool:
        """Whether the gates differ from each other: before any training all are the same."""
        logits = self.gates.logits.detach()
        return self.size == 1 or bool((logits != logits.reshape(-1)[0]).any())

    def get_gates(self) -> Tensor:
        """Shape (size,): a draw in train mode, the deterministic gates in eval mode."""
        gates: Tensor = self.gates()
        return gates

    def apply_gates(self, x: Tensor, dim: int = 0) -> Tensor:
        """``x`` with each slice along ``dim`` multiplied by its gate; differentiable in both.

        Raises
        ------
        InputError
            ``x`` is no tensor, or does not have `size` slices along ``dim``.
        """
        if not isinstance(x, Tensor):
            raise InputError(f"x must be a tensor, got {type(x).__name__}")
        if not -x.dim() <= dim < x.dim() or x.shape[dim] != self.size:
            raise InputError(f"x must have {self.size} slices along dimension {dim}, its shape is {tuple(x.shape)}")
        shape = [1] * x.dim()
        shape[dim] = self.size
        return _times(x, self.get_gates().reshape(shape))

    def get_penalty(self) -> Tensor:
        """The expected number of open gates, a scalar."""
        return self.gates.get_penalty()

    def get_active_indices(self, threshold: float = 0.5) -> Tensor:
        """Positions of the gates that are open with a probability above ``threshold``, ascending."""
        return torch.nonzero(self.gates.get_active_prob() > threshold).flatten()

    def _chosen(self, keep: int, owner: nn.Module | None = None) -> npt.NDArray[np.int64]:
        """Positions of exactly ``keep`` gates, those most likely open; ties by the seed.

        ``owner`` is the module that its user knows, where it is another one.
        """
        if keep < self.size and not self.is_trained:
            warnings.warn(
                f"{type(owner or self).__name__} has learnt nothing yet, all its gates are equal: the selection is the "
                "seed's; call fit first, or train the gates",
                UntrainedWarning,
                stacklevel=3,
            )
        return top_k(self.gates.scores().double().cpu().numpy(), keep, self.seed)

    def _tensor(self, indices: npt.NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(indices).to(self.gates.logits.device)


class SampleGate(L0Gate):
    """Keeps exactly ``target_samples`` of ``n_samples`` records.

    Parameters
    ----------
    n_samples
        Number of records.
    target_samples
        How many are kept, 1 to ``n_samples``; at first the expected number of open gates is the same.
    temperature
        beta of the gates.
    seed
        Of ties and of the gates' own noise.
    """

    def __init__(self, n_samples: int, target_samples: int, temperature: float = 0.25, *, seed: int = _SEED) -> None:
        n_samples = check_size("n_samples", n_samples)
        keep = check_count(target_samples, n_samples, "target_samples")
        super().__init__(n_samples, temperature, _start(keep, n_samples), seed=seed)
        self.n_samples = n_samples
        self.target_samples = keep

    def fit(self, matrix: Any, totals: Any, *, reference: Any = None, epochs: int = 300, lr: float = 0.05) -> Self:
        """Learn which records meet the totals, gates and weights together.

        Parameters
        ----------
        matrix
            Shape (targets, n_samples): ndarray, tensor, DataFrame or scipy sparse.
        totals
            Shape (targets,), what the weighted sums should be.
        reference
            Shape (n_samples,), the records' weights before; 1 for each by default.
        epochs, lr
            See `LearningSettings`.
        """
        learn_records(self.gates, matrix, totals, reference, self.target_samples, LearningSettings(epochs, lr))
        return self

    def select_samples(self, data: Any) -> tuple[Any, Tensor]:
        """(the kept rows, their positions in ascending order); the same in train and eval mode."""
        check_length(data, self.n_samples, 0, "records")
        indices = self._chosen(self.target_samples)
        return take(data, indices), self._tensor(indices)

    def select_weighted_samples(self, data: Any, weights: Any) -> tuple[Any, Any, Tensor]:
        """(the kept rows, their weights scaled by the gates, their positions).

        The gate of a kept record is the mean of its gate given that it is open, in (0, 1]: it is
        differentiable in the logits and the same in train and eval mode.

        Raises
        ------
        InputError
            Other than one row of data or one weight for each record, or a weight that is not finite.
        """
        check_length(data, self.n_samples, 0, "records")
        check_length(weights, self.n_samples, 0, "records")
        if len(weights.shape) != 1:
            raise InputError(f"weights must have one dimension, got shape {tuple(weights.shape)}")
        refuse_not_finite(weights, "weights")
        indices = self._chosen(self.target_samples)
        kept = take(weights, indices)
        scale = self.gates.open_mean()[self._tensor(indices)]
        if isinstance(kept, Tensor):
            scaled: Any = _times(kept, scale.to(kept.device))
        else:
            scaled = kept * scale.detach().double().cpu().numpy()
        return take(data, indices), scaled, self._tensor(indices)


class FeatureGate(L0Gate):
    """Keeps exactly ``max_features`` of ``n_features`` columns.

    Parameters
    ----------
    n_features
        Number of columns.
    max_features
        How many are kept, 1 to ``n_features``.
    temperature
        beta of the gates.
    seed
        Of ties and of the gates' own noise.
    """

    def __init__(self, n_features: int, max_features: int, temperature: float = 0.1, *, seed: int = _SEED) -> None:
        n_features = check_size("n_features", n_features)
        keep = check_count(max_features, n_features, "max_features")
        super().__init__(n_features, temperature, _start(keep, n_features), seed=seed)
        self.n_features = n_features
        self.max_features = keep

    def fit(self, X: Any, y: Any, *, epochs: int = 300, lr: float = 0.05) -> Self:
        """Learn which features explain y in a linear model, gates and coefficients together.

        Parameters
        ----------
        X
            Shape (samples, n_features): ndarray, tensor, DataFrame or scipy sparse.
        y
            Shape (samples,).
        epochs, lr
            See `LearningSettings`.
        """
        learn_features(self.gates, X, y, self.max_features, LearningSettings(epochs, lr))
        return self

    def select_features(self, data: Any) -> tuple[Any, Tensor]:
        """(the kept columns, their positions in ascending order); the same in train and eval mode.

        Features are the last dimension of the data, whatever comes before it.
        """
        check_length(data, self.n_features, -1, "features")
        indices = self._chosen(self.max_features)
        return take(data, indices, axis=-1), self._tensor(indices)

    def select_features_with_names(self, data: Any, feature_names: list[str]) -> tuple[Any, list[str]]:
        """(the kept columns, their names)."""
        check_length(data, self.n_features, -1, "features")
        if len(feature_names) != self.n_features:
            raise InputError(f"there are {self.n_features} features and {len(feature_names)} names")
        indices = self._chosen(self.max_features)
        return take(data, indices, axis=-1), [feature_names[i] for i in indices]

    def get_feature_importance(self) -> Tensor:
        """Shape (n_features,), in [0, 1]: the probability that each feature's gate is open."""
        return self.gates.get_active_prob().detach()


class HybridGate(nn.Module):
    """Keeps records of two kinds, learned and random, in exact numbers.

    Parameters
    ----------
    n_items
        Number of records.
    l0_fraction, random_fraction
        Shares of ``target_items`` that are learned and that are random; where they add up to less than 1, so many
        fewer are kept.
    target_items
        How many are kept, 1 to ``n_items``; a fifth of them (at least 1) by default.
    temperature
        beta of the gates.
    seed
        Of ties, of the gates' own noise and, where `select` is given none, of the random part.
    """

    def __init__(
        self,
        n_items: int,
        l0_fraction: float = 0.25,
        random_fraction: float = 0.75,
        target_items: int | None = None,
        temperature: float = 0.25,
        *,
        seed: int = _SEED,
    ) -> None:
        super().__init__()
        self.n_items = check_size("n_items", n_items)
        wanted = max(1, n_items // 5) if target_items is None else target_items
        self.target_items = check_count(wanted, n_items, "target_items")
        for name, share in (("l0_fraction", l0_fraction), ("random_fraction", random_fraction)):
            if not is_number(share):
                raise InputError(f"{name} must be a number, got {share!r}")
        # Shares given as decimals add up to 1 but for a few roundings.
        both = l0_fraction + random_fraction
        if not (l0_fraction >= 0 and random_fraction >= 0 and 0 < both < 1.0 + 1e-9):
            raise InputError(
                "l0_fraction and random_fraction must not be negative, nor both 0, nor add up to more than 1, got "
                f"{l0_fraction} and {random_fraction}"
            )
        left_out = 1.0 - both if both < 1.0 - 1e-9 else 0.0
        self.l0_fraction, self.random_fraction = float(l0_fraction), float(random_fraction)
        self.seed = seed
        self.n_l0, self.n_random, _ = share_out(self.target_items, (l0_fraction, random_fraction, left_out))
        self.l0_gate = SampleGate(n_items, max(1, self.n_l0), temperature, seed=seed)

    def fit(self, matrix: Any, totals: Any, *, reference: Any = None, epochs: int = 300, lr: float = 0.05) -> Self:
        """Learn the learned part; see `SampleGate.fit`."""
        self.l0_gate.fit(matrix, totals, reference=reference, epochs=epochs, lr=lr)
        return self

    def select(self, data: Any, random_seed: int | None = None) -> tuple[Any, Tensor, npt.NDArray[np.str_]]:
        """(the kept rows, their positions in ascending order, their kinds ``"l0"`` or ``"random"``).

        The random part is a simple random sample without replacement of what is not learned.

        Parameters
        ----------
        random_seed
            Of the random part; the seed of the constructor by default.
        """
        check_length(data, self.n_items, 0, "records")
        kinds = np.full(self.n_items, "", dtype="<U6")
        if self.n_l0:
            kinds[self.l0_gate._chosen(self.n_l0, self)] = "l0"
        # Another stream than that of the ties, so that the two do not go together.
        own = self.seed if random_seed is None else check_seed(random_seed, "random_seed")
        rng = np.random.default_rng([own, 1])
        rest = np.flatnonzero(kinds == "")
        kinds[rng.choice(rest, size=self.n_random, replace=False)] = "random"
        indices = np.flatnonzero(kinds != "").astype(np.int64)
        return take(data, indices), self.l0_gate._tensor(indices), kinds[indices]

    def get_penalty(self) -> Tensor:
        """The expected number of open gates of the learned part, a scalar."""
        return self.l0_gate.get_penalty()
