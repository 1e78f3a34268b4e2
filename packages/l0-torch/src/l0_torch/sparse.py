"""`SparseL0Linear`: sparse linear regression with a gate for each coefficient."""

from __future__ import annotations

import logging
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn

from l0_core.distributions.hard_concrete import HardConcrete as HardConcreteLaw
from l0_core.errors import InputError
from l0_core.penalties.base import price
from l0_core.selection import check_seed
from l0_torch.backend import TorchBackend
from l0_torch.hard_concrete import check_probability, check_size
from l0_torch.learning import LearningSettings, learns, precision, vector
from l0_torch.stochastic_gates import StochasticGates
from l0_torch.taking import as_matrix, check_length, refuse_not_finite

_log = logging.getLogger(__name__)

_JITTER = 0.01
"""Standard deviation of the logits at first: equal features must not stay equal for ever."""

_PRICE = 0.01
"""Price of an open gate where none is given."""


class SparseL0Linear(StochasticGates):
    """Linear regression whose coefficients have Hard Concrete gates; X may be sparse and stays so.

    Parameters
    ----------
    n_features
        Number of coefficients.
    fit_intercept
        Whether there is an intercept.
    beta, gamma, zeta
        Temperature and stretch of the gates.
    init_keep_prob
        The probability with which each gate is open at first.
    device
        Where the parameters live.
    seed
        Of the jitter of the logits and of the gate noise; None is 0. torch's generator is not touched.

    Attributes
    ----------
    weight, bias, log_alpha
        Parameters of shape (n_features,), (1,) (absent without intercept), (n_features,).
    """

    logits_name: ClassVar[str] = "log_alpha"
    bias: Tensor | None

    def __init__(
        self,
        n_features: int,
        fit_intercept: bool = True,
        beta: float = 2 / 3,
        gamma: float = -0.1,
        zeta: float = 1.1,
        init_keep_prob: float = 0.5,
        device: str | torch.device = "cpu",
        seed: int | None = None,
    ) -> None:
        law = HardConcreteLaw(beta, gamma, zeta)
        start = float(law.log_alpha_for(check_probability("init_keep_prob", init_keep_prob)))
        backend = TorchBackend(str(device))
        own = 0 if seed is None else check_seed(seed)
        super().__init__(law, seed=own)
        self.n_features = check_size("n_features", n_features)
        self.fit_intercept = fit_intercept
        self.seed = seed
        self.weight = nn.Parameter(torch.zeros(n_features, device=backend.device))
        self.register_parameter("bias", nn.Parameter(torch.zeros(1, device=backend.device)) if fit_intercept else None)
        jitter = np.random.default_rng(own).normal(0.0, _JITTER, n_features)
        self.log_alpha = nn.Parameter(backend.asarray(start + jitter, "float32"))
        self._optimiser: torch.optim.Adam | None = None
        self._optimised: tuple[float, str, torch.device] | None = None

    @property
    def device(self) -> torch.device:
        """Where the parameters live."""
        return self.weight.device

    def _product(self, X: Any, coefficients: Tensor) -> Tensor:
        table = X if isinstance(X, Tensor) else as_matrix(X)
        check_length(table, self.n_features, 1, "features")
        if not isinstance(table, Tensor):
            wide = coefficients.float() if coefficients.dtype.itemsize < 4 else coefficients
            product = TorchBackend(str(self.device)).linear_map(table, str(wide.dtype).removeprefix("torch."))
            return product.matvec(wide).to(coefficients.dtype)
        if table.dim() != 2:
            raise InputError(f"the matrix must be two-dimensional, got shape {tuple(table.shape)}")
        return table.to(coefficients.dtype) @ coefficients

    def forward(self, X: Any, deterministic: bool = False) -> Tensor:
        """Shape (samples,): the prediction, with a draw of the gates or (``deterministic``) those of evaluation.

        Parameters
        ----------
        X
            Shape (samples, n_features): tensor, ndarray, DataFrame or scipy sparse.
        """
        gates = self.deterministic_gates() if deterministic else self.sample_gates()
        found = self._product(X, self.weight * gates)
        return found if self.bias is None else found + self.bias

    @torch.no_grad()
    def predict(self, X: Any) -> Tensor:
        """Shape (samples,): the deterministic prediction, without a gradient."""
        return self.forward(X, deterministic=True)

    @learns
    def fit(
        self,
        X: Any,
        y: Any,
        lambda_reg: float = _PRICE,
        lr: float = 0.01,
        epochs: int = 1000,
        verbose: bool = False,
        verbose_freq: int = 100,
        *,
        lambda_l0: float | None = None,
    ) -> Self:
        """Minimise mean squared error plus the price of the expected number of open gates, by Adam.

        A second call goes on where the first ended, so that slices of epochs give what one call gives;
        ``load_state_dict`` and a change of ``lr``, precision or device begin anew.

        Parameters
        ----------
        X, y
            Shapes (samples, n_features) and (samples,).
        lambda_reg
            Price of an open gate, in the unit of the squared error; also called ``lambda_l0``.
        verbose
            Log the loss at level INFO every ``verbose_freq`` epochs.

        Raises
        ------
        InputError
            Shapes that do not fit, values that are not finite, a price below 0 or under both names, gates in half
            precision.
        """
        if lambda_l0 is not None and lambda_reg != _PRICE:
            raise InputError(f"give the price once: lambda_reg, or lambda_l0; got {lambda_reg!r} and {lambda_l0!r}")
        cost = price(lambda_reg, "lambda_reg") if lambda_l0 is None else price(lambda_l0, "lambda_l0")
        settings = LearningSettings(epochs, lr)
        check_size("verbose_freq", verbose_freq)
        dtype = precision(self.weight)
        table = X.detach() if isinstance(X, Tensor) else as_matrix(X)
        check_length(table, self.n_features, 1, "features")
        if not table.shape[0]:
            raise InputError("X must have at least one row (sample)")
        refuse_not_finite(table, "X")
        goal = torch.from_numpy(vector(y, table.shape[0], "y")).to(self.weight)
        optimiser, kind = self._optimiser, (lr, dtype, self.device)
        if optimiser is None or self._optimised != kind:
            optimiser = torch.optim.Adam(self.parameters(), lr=settings.lr)
            self._optimiser, self._optimised = optimiser, kind
        product = None if isinstance(table, Tensor) else TorchBackend(str(self.device)).linear_map(table, dtype)
        for epoch in range(settings.epochs):
            optimiser.zero_grad(set_to_none=True)
            coefficients = self.weight * self.sample_gates()
            found = self._product(table, coefficients) if product is None else product.matvec(coefficients)
            error = ((found if self.bias is None else found + self.bias) - goal).square().mean()
            (error + cost * self.get_penalty()).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            if verbose and (epoch + 1) % verbose_freq == 0:
                _log.info("epoch %d: squared error %.6g, expected open %.1f", epoch + 1, error, self.get_penalty())
        return self

    def _load_from_state_dict(self, *args: Any) -> None:
        # Also where the model is part of another: its own `load_state_dict` is not asked then.
        self._optimiser = None
        super()._load_from_state_dict(*args)

    def get_l0_penalty(self) -> Tensor:
        """The expected number of open gates, a scalar."""
        return self.get_penalty()

    def get_deterministic_gates(self) -> Tensor:
        """Shape (n_features,): the gates of evaluation."""
        return self.deterministic_gates()

    def get_sparsity(self) -> float:
        """The share of gates that are closed in evaluation."""
        return 1.0 - self.get_num_active() / self.n_features

    @torch.no_grad()
    def get_coefficients(self) -> Tensor:
        """Shape (n_features,): weights times the gates of evaluation, exactly zero where closed."""
        return self.weight * self.deterministic_gates()

    def get_selected_features(self, threshold: float = 0.01) -> Tensor:
        """Positions of the features whose gate of evaluation exceeds ``threshold``, ascending."""
        if not 0.0 <= threshold < 1.0:
            raise InputError(f"threshold must be at least 0 and below 1, got {threshold}")
        return torch.nonzero(self.deterministic_gates().detach() > threshold).flatten()
