"""`SparseCalibrationWeights`: positive weights behind Hard Concrete gates that meet targets, as a module."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from l0_calibrate.problem.matrices import as_sparse
from l0_calibrate.torch_faces.progress_lines import ProgressLines
from l0_calibrate.torch_faces.squared_error import group_weights, target_scales
from l0_calibrate.torch_faces.training_memory import TrainingMemory
from l0_calibrate.torch_faces.weight_training import GatedWeights, TrainingPrices, WeightProblem, train_weights
from l0_core import HardConcrete, InputError
from l0_core.backends.numpy import NumpyBackend
from l0_core.penalties.base import price
from l0_core.selection import check_seed
from l0_core.whole_numbers import check_whole
from l0_torch.backend import TorchBackend
from l0_torch.hard_concrete import check_size
from l0_torch.learning import LearningSettings, vector
from l0_torch.stochastic_gates import StochasticGates
from l0_torch.taking import as_matrix, check_length

_LEAST_WEIGHT = 1e-8
"""Where a weight of 0 starts: it has no logarithm. As in l0-python, so that its pipelines start from the same point."""

_LEAST_CHANCE = 1e-6
"""Where a probability of 0 starts, and as far below 1 one of 1: they have no logit. As in l0-python's arrays."""

_STATE = "l0_training"
"""Name of the training state in the metadata that `torch.nn.Module.state_dict` carries."""


class SparseCalibrationWeights(StochasticGates):
    """Positive weights with a Hard Concrete gate each, fitted to ``M @ weights = y`` by Adam.

    Calls go on where the last one ended: ten ``fit`` calls of 30 epochs are one of 300, bit for bit, whatever
    is looked at or printed in between. `reset_optimizer` begins anew with the weights at hand. The
    ``state_dict`` has the entries ``log_weight`` and ``log_alpha`` alone; the state of the training travels in
    its metadata, where `torch.save` keeps it, so that a reloaded model goes on exactly. A ``state_dict`` without
    it (an older one, one copied entry by entry) loads as weights, and training begins anew.

    Parameters
    ----------
    n_features
        Number of weights.
    beta, gamma, zeta
        Temperature and stretch of the gates.
    init_keep_prob
        ``sigmoid(log_alpha)`` at first, in [0, 1]; one number or one for each weight. (The probability that a gate
        is open is larger by the stretch: 0.83 for 0.5 with the default law.) No gate starts beyond 1e-6 or 1 - 1e-6.
    init_weights
        The weights at first, one number or one for each, not all 0; 1 by default, and 0 starts at 1e-8.
    log_weight_jitter_sd, log_alpha_jitter_sd
        Standard deviation of the noise on log-weights, added once when the first `fit` begins, and on ``log_alpha``.
    device
        Where the parameters live.
    use_gates
        Whether there are gates; without, every weight counts in full.
    seed
        Of all noise; None is 0. torch's and NumPy's global generators are not touched.

    Attributes
    ----------
    log_weight, log_alpha
        Parameters of shape (n_features,), float32; ``model.double()`` makes everything float64.

    Raises
    ------
    InputError
        A size, probability, weight or jitter that cannot be.
    """

    logits_name: ClassVar[str] = "log_alpha"

    def __init__(
        self,
        n_features: int,
        beta: float = 2 / 3,
        gamma: float = -0.1,
        zeta: float = 1.1,
        init_keep_prob: float | npt.NDArray[Any] = 0.5,
        init_weights: float | npt.NDArray[Any] | None = None,
        log_weight_jitter_sd: float = 0.0,
        log_alpha_jitter_sd: float = 0.01,
        device: str | torch.device = "cpu",
        use_gates: bool = True,
        seed: int | None = None,
    ) -> None:
        count = check_size("n_features", n_features)
        start = 0 if seed is None else check_seed(seed)
        super().__init__(HardConcrete(beta, gamma, zeta), seed=start)
        self.n_features = count
        self.log_weight_jitter_sd = price(log_weight_jitter_sd, "log_weight_jitter_sd")
        self.log_alpha_jitter_sd = price(log_alpha_jitter_sd, "log_alpha_jitter_sd")
        self.use_gates = bool(use_gates)
        self.seed = seed
        keep = _one_each("init_keep_prob", init_keep_prob, count)
        if not ((keep >= 0) & (keep <= 1)).all():
            j = int(np.flatnonzero(~((keep >= 0) & (keep <= 1)))[0])
            raise InputError(f"init_keep_prob must lie in [0, 1], got {keep[j]} for weight {j}")
        keep = np.clip(keep, _LEAST_CHANCE, 1.0 - _LEAST_CHANCE)
        weights = _one_each("init_weights", 1.0 if init_weights is None else init_weights, count)
        if (weights < 0).any():
            j = int(np.flatnonzero(weights < 0)[0])
            raise InputError(f"init_weights must not be negative, got {weights[j]} for weight {j}")
        if not weights.any():
            raise InputError(
                "init_weights are all 0: there is nothing to start from; leave them out to start at 1 each"
            )
        backend = TorchBackend(str(device))
        log_weight = backend.asarray(np.log(np.maximum(weights, _LEAST_WEIGHT)), "float32")
        log_alpha = backend.asarray(np.log(keep) - np.log1p(-keep), "float32")
        log_alpha += self._jitter(start, self.log_alpha_jitter_sd, 0).to(log_alpha)
        self.log_weight = nn.Parameter(log_weight)
        self.log_alpha = nn.Parameter(log_alpha)
        self._memory = TrainingMemory(torch.zeros(4, count), start)

    def _jitter(self, seed: int, deviation: float, place: int) -> Tensor:
        """Normal noise in float32, shape (n_features,): the ``place``-th draw of a generator of the seed."""
        generator = torch.Generator().manual_seed(seed)
        for _ in range(place):
            torch.randn(self.n_features, generator=generator)
        return torch.randn(self.n_features, generator=generator) * deviation

    # ------------------------------------------------------------------ what the model says

    @property
    def device(self) -> torch.device:
        """Where the parameters live."""
        return self.log_weight.device

    def get_deterministic_gates(self) -> Tensor:
        """Shape (n_features,): the gates of evaluation (all 1 without gates)."""
        return self.deterministic_gates() if self.use_gates else torch.ones_like(self.log_alpha)

    def get_weights(self, deterministic: bool = False) -> Tensor:
        """Shape (n_features,), differentiable: weights behind a draw of the gates, or behind those of evaluation.

        Draws come from a generator of the model that `fit` does not use.
        """
        weights = self.log_weight.exp()
        if not self.use_gates:
            return weights
        return weights * (self.deterministic_gates() if deterministic else self.sample_gates())

    def forward(self, M: Any, deterministic: bool = False) -> Tensor:
        """Shape (targets,): the estimates, differentiable in the parameters.

        Parameters
        ----------
        M
            Shape (targets, n_features): scipy sparse matrix or array of any format, ndarray, DataFrame or tensor.
        """
        table = self._table(M)
        linear = TorchBackend(str(self.device)).linear_map(table, self._dtype)
        return linear.matvec(self.get_weights(deterministic))

    @torch.no_grad()
    def predict(self, M: Any) -> Tensor:
        """Shape (targets,): the estimates with the gates of evaluation, without a gradient."""
        if self.device.type != "cpu":
            return self.forward(M, deterministic=True)
        weights = self.get_weights(deterministic=True).numpy()
        return torch.from_numpy(NumpyBackend().linear_map(self._table(M), self._dtype).matvec(weights))

    def get_l0_penalty(self) -> Tensor:
        """The expected number of open gates, a scalar (the number of weights without gates)."""
        return self.get_penalty() if self.use_gates else self.log_alpha.new_tensor(float(self.n_features))

    def get_l2_penalty(self) -> Tensor:
        """The sum of squared weights, of open and closed gates alike, a scalar."""
        return self.log_weight.exp().square().sum()

    @torch.no_grad()
    def get_sparsity(self) -> float:
        """The share of weights that are exactly 0 in evaluation."""
        return 1.0 - int(torch.count_nonzero(self.get_weights(deterministic=True))) / self.n_features

    @torch.no_grad()
    def get_active_weights(self) -> dict[str, Any]:
        """``indices`` (ascending) and ``values`` of the weights that are not 0 in evaluation, and their ``count``."""
        weights = self.get_weights(deterministic=True)
        indices = torch.nonzero(weights > 0).flatten()
        return {"indices": indices, "values": weights[indices], "count": int(indices.numel())}

    # ------------------------------------------------------------------ fitting

    def fit(
        self,
        M: Any,
        y: Any,
        lambda_l0: float = 0.01,
        lambda_l2: float = 0.0,
        lr: float = 0.01,
        epochs: int = 1000,
        loss_type: str = "mse",
        verbose: bool = False,
        verbose_freq: int = 100,
        target_groups: Any | None = None,
        normalize_groups: bool = True,
        group_multipliers: dict[Any, float] | None = None,
    ) -> Self:
        """Minimise the squared errors plus ``lambda_l0`` open gates plus ``lambda_l2`` squared weights.

        Adam on log-weights and ``log_alpha`` with gradients in closed form; it goes on where the last call ended.

        Parameters
        ----------
        M, y
            Shapes (targets, n_features) and (targets,).
        epochs
            Steps of Adam, each over all targets; 0 takes none. A parameter whose ``requires_grad`` is off stays.
        loss_type
            ``"mse"``: the sum of squared errors. ``"relative"``: each error is divided by ``|target| + 1`` first.
        verbose
            Print a line every ``verbose_freq`` epochs.
        target_groups
            Shape (targets,): the group of each target; the loss is then the sum over groups.
        normalize_groups
            Take the mean square within a group, so that all groups count the same, however many targets they have.
        group_multipliers
            What a group counts for, by group; 1 where none is given.

        Raises
        ------
        InputError
            An unknown ``loss_type``, shapes that do not fit, numbers that are not finite, a price below 0.
        """
        steps = check_whole(epochs, 0, "epochs")
        of_gates, of_squares = price(lambda_l0, "lambda_l0"), price(lambda_l2, "lambda_l2")
        prices = TrainingPrices(of_gates, of_squares, LearningSettings(lr=lr).lr)
        table = self._table(M)
        targets = vector(y, table.shape[0], "y")
        weights = group_weights(targets.size, target_groups, normalize_groups, group_multipliers)
        problem = WeightProblem(table, targets, target_scales(targets, loss_type), weights)
        lines = None
        if verbose:
            lines = ProgressLines(self, problem, prices, check_size("verbose_freq", verbose_freq))
            lines.begin(target_groups, normalize_groups)
        self._add_weight_jitter()
        log_alpha = self.log_alpha.detach() if self.use_gates else None
        learns = (self.log_weight.requires_grad, self.log_alpha.requires_grad)
        model = GatedWeights(self.log_weight.detach(), log_alpha, self.distribution, self._memory, learns)
        train_weights(model, problem, prices, steps, _nothing if lines is None else lines.after)
        return self

    def reset_optimizer(self) -> None:
        """Forget Adam's moments: the next `fit` begins anew from the weights at hand."""
        self._memory.reset_optimizer()

    @torch.no_grad()
    def _add_weight_jitter(self) -> None:
        if self._memory.jittered:
            return
        self._memory.jittered = True
        if self.log_weight_jitter_sd > 0:
            before = 1 if self.log_alpha_jitter_sd > 0 else 0
            noise = self._jitter(self._memory.seed, self.log_weight_jitter_sd, before)
            self.log_weight.add_(noise.to(self.log_weight))

    @property
    def _dtype(self) -> str:
        return str(self.log_weight.dtype).removeprefix("torch.")

    def _table(self, M: Any) -> Any:
        """M as an ndarray or scipy sparse, with a column for each weight."""
        if hasattr(M, "iloc") or (isinstance(M, Tensor) and M.layout != torch.strided):
            M = as_sparse(M, "M", "(targets, n_features)").tocsr()
        table = as_matrix(M)
        if len(table.shape) != 2:
            raise InputError(f"M must have two dimensions (targets, n_features), its shape is {tuple(table.shape)}")
        check_length(table, self.n_features, 1, "features")
        return table

    # ------------------------------------------------------------------ checkpoints

    def training_state(self) -> dict[str, Any]:
        """What `fit` needs besides the parameters to go on exactly, as tensors and numbers.

        A ``state_dict`` carries it already. It is for pipelines that store tensors alone.
        """
        return self._memory.state()

    def load_training_state(self, state: dict[str, Any]) -> None:
        """The inverse of `training_state`.

        Raises
        ------
        InputError
            The state is incomplete or that of a model of another size.
        """
        self._memory = TrainingMemory.from_state(state, self.n_features)

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        metadata = getattr(destination, "_metadata", None)
        if metadata is not None:
            metadata.setdefault(prefix[:-1], {})[_STATE] = self.training_state()

    def _load_from_state_dict(
        self, state_dict: Any, prefix: str, local_metadata: dict[str, Any], *args: Any, **kwargs: Any
    ) -> None:
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *args, **kwargs)
        state = local_metadata.get(_STATE)
        if state is not None:
            self.load_training_state(state)
        else:
            # Weights of unknown history: they are not to be shaken, and no moments belong to them.
            self._memory.reset_optimizer()
            self._memory.jittered = True


def _one_each(name: str, values: Any, count: int) -> npt.NDArray[np.float64]:
    """One number for all, or one for each, as finite float64 of shape (count,)."""
    if np.ndim(values) == 0:
        return vector(np.full(count, float(values)), count, name)
    return vector(values, count, name)


def _nothing(_epochs: int) -> None:
    """Watch nothing."""
