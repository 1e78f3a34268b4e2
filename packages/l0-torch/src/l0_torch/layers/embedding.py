"""`L0Embedding`: an embedding with a gate for each of its dimensions, or for each of its rows."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from l0_core.errors import InputError
from l0_core.whole_numbers import is_whole
from l0_torch.hard_concrete import HardConcrete, check_probability, check_size
from l0_torch.layers.base import GatedLayer


class L0Embedding(GatedLayer):
    """Embedding table with Hard Concrete gates.

    Parameters
    ----------
    num_embeddings, embedding_dim, padding_idx
        As in `torch.nn.Embedding`.
    temperature
        beta of the gates.
    init_sparsity
        The probability with which each gate is closed at first.
    by
        ``"dimension"``: one gate for each of the dimensions, which `compact` can take out of the table;
        ``"row"``: one for each entry of the vocabulary.
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        temperature: float = 0.5,
        init_sparsity: float = 0.5,
        *,
        by: str = "dimension",
        use_l2: bool = False,
    ) -> None:
        super().__init__()
        check_size("num_embeddings", num_embeddings)
        check_size("embedding_dim", embedding_dim)
        if padding_idx is not None and not (is_whole(padding_idx) and -num_embeddings <= padding_idx < num_embeddings):
            raise InputError(f"padding_idx must be one of the {num_embeddings} rows, or None, got {padding_idx!r}")
        self._wrap(nn.Embedding(num_embeddings, embedding_dim, padding_idx), temperature, init_sparsity, by, use_l2)

    @classmethod
    def around(cls, source: nn.Embedding, **options: Any) -> L0Embedding:
        """A gated embedding on the very table of another; options as in the constructor."""
        layer = cls.__new__(cls)
        nn.Module.__init__(layer)
        defaults: dict[str, Any] = {"temperature": 0.5, "init_sparsity": 0.5, "by": "dimension", "use_l2": False}
        layer._wrap(source, **(defaults | options))
        layer.embedding_gates.to(device=source.weight.device, dtype=source.weight.dtype)
        return layer.train(source.training)

    def _wrap(self, source: nn.Embedding, temperature: float, init_sparsity: float, by: str, use_l2: bool) -> None:
        if by not in ("dimension", "row"):
            raise InputError(f"by must be 'dimension' or 'row', got {by!r}")
        opened = 1.0 - check_probability("init_sparsity", init_sparsity)
        self.num_embeddings, self.embedding_dim = source.num_embeddings, source.embedding_dim
        self.padding_idx = source.padding_idx
        self.weight = source.weight
        self.by = by
        self.use_l2 = use_l2
        count = self.embedding_dim if by == "dimension" else self.num_embeddings
        self.embedding_gates = HardConcrete(count, temperature=temperature, init_mean=opened)

    @property
    def gates(self) -> HardConcrete:
        """`embedding_gates`."""
        return self.embedding_gates

    def gated_parameters(self) -> Tensor:
        """Shape (gates, parameters per gate)."""
        return self.weight.t() if self.by == "dimension" else self.weight

    def forward(self, input: Tensor) -> Tensor:
        """Whole numbers of shape (...) to vectors of shape (..., embedding_dim)."""
        gates = self.embedding_gates().to(self.weight.dtype)
        found = functional.embedding(input, self.weight, self.padding_idx)
        gated: Tensor = found * (gates if self.by == "dimension" else gates[input].unsqueeze(-1))
        return gated

    @torch.no_grad()
    def prune(self, closed: Tensor) -> None:
        """Set the table's columns or rows behind the gates that ``closed`` marks to zero."""
        self.gated_parameters()[closed] = 0.0

    @torch.no_grad()
    def plain(self) -> nn.Module:
        """A `torch.nn.Embedding` with the table of evaluation."""
        gates = self.embedding_gates.deterministic_gates().to(self.weight.dtype)
        table = self.weight * (gates if self.by == "dimension" else gates[:, None])
        found = nn.Embedding(self.num_embeddings, self.embedding_dim, self.padding_idx, _weight=table.clone())
        found.weight.requires_grad_(self.weight.requires_grad)
        return found.train(self.training)
