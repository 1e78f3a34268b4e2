"""`L0MultiheadAttention`: attention with a gate for each head, and the plain attention it becomes."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from l0_core.errors import InputError
from l0_torch.hard_concrete import HardConcrete, check_probability, check_size
from l0_torch.layers.base import GatedLayer, unfilled


class MultiheadAttention(nn.Module):
    """Scaled dot-product attention whose heads need not fill the embedding.

    Parameters
    ----------
    embed_dim
        Size of queries, keys, values and outputs.
    num_heads, head_dim
        Heads, and the size of each.
    bias
        Whether the four projections have one.
    """

    def __init__(self, embed_dim: int, num_heads: int, head_dim: int, bias: bool = True) -> None:
        super().__init__()
        self.embed_dim = check_size("embed_dim", embed_dim)
        self.num_heads = check_size("num_heads", num_heads)
        self.head_dim = check_size("head_dim", head_dim)
        inner = num_heads * head_dim
        self.q_proj = nn.Linear(embed_dim, inner, bias=bias)
        self.k_proj = nn.Linear(embed_dim, inner, bias=bias)
        self.v_proj = nn.Linear(embed_dim, inner, bias=bias)
        self.out_proj = nn.Linear(inner, embed_dim, bias=bias)

    def heads(
        self, query: Tensor, key: Tensor | None, value: Tensor | None, attn_mask: Tensor | None, is_causal: bool
    ) -> Tensor:
        """What each head gives, shape (..., L, num_heads, head_dim)."""
        key = query if key is None else key
        value = key if value is None else value
        split = (self.num_heads, self.head_dim)
        q, k, v = (
            projection(tensor).unflatten(-1, split).transpose(-3, -2)
            for projection, tensor in ((self.q_proj, query), (self.k_proj, key), (self.v_proj, value))
        )
        found = functional.scaled_dot_product_attention(q, k, v, attn_mask=attn_mask, is_causal=is_causal)
        return found.transpose(-3, -2)

    def forward(
        self,
        query: Tensor,
        key: Tensor | None = None,
        value: Tensor | None = None,
        *,
        attn_mask: Tensor | None = None,
        is_causal: bool = False,
    ) -> Tensor:
        """Shape (..., L, embed_dim) to the same; without ``key`` the query attends to itself."""
        output: Tensor = self.out_proj(self.heads(query, key, value, attn_mask, is_causal).flatten(-2))
        return output


class L0MultiheadAttention(GatedLayer):
    """Attention with a Hard Concrete gate on the output of each head.

    Parameters
    ----------
    embed_dim, num_heads, bias
        As in `torch.nn.MultiheadAttention`, batch first; ``num_heads`` divides ``embed_dim``.
    temperature
        beta of the gates.
    init_sparsity
        The probability with which each head is closed at first.
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        bias: bool = True,
        temperature: float = 0.5,
        init_sparsity: float = 0.5,
        *,
        use_l2: bool = False,
    ) -> None:
        super().__init__()
        if check_size("embed_dim", embed_dim) % check_size("num_heads", num_heads):
            raise InputError(f"num_heads ({num_heads}) must divide embed_dim ({embed_dim})")
        self.use_l2 = use_l2
        self.attention = MultiheadAttention(embed_dim, num_heads, embed_dim // num_heads, bias)
        opened = 1.0 - check_probability("init_sparsity", init_sparsity)
        self.head_gates = HardConcrete(num_heads, temperature=temperature, init_mean=opened)

    @property
    def gates(self) -> HardConcrete:
        """`head_gates`."""
        return self.head_gates

    def gated_parameters(self) -> Tensor:
        """Shape (num_heads, numbers of a head in the four projections)."""
        part, heads = self.attention, self.attention.num_heads
        tensors = [p.weight.reshape(heads, -1) for p in (part.q_proj, part.k_proj, part.v_proj)]
        tensors += [p.bias.reshape(heads, -1) for p in (part.q_proj, part.k_proj, part.v_proj) if p.bias is not None]
        tensors.append(part.out_proj.weight.t().reshape(heads, -1))
        return torch.cat(tensors, dim=1)

    def forward(
        self,
        query: Tensor,
        key: Tensor | None = None,
        value: Tensor | None = None,
        *,
        attn_mask: Tensor | None = None,
        is_causal: bool = False,
    ) -> Tensor:
        """Shape (..., L, embed_dim) to the same; without ``key`` the query attends to itself."""
        heads = self.attention.heads(query, key, value, attn_mask, is_causal)
        gated = heads * self.head_gates().to(heads.dtype)[:, None]
        output: Tensor = self.attention.out_proj(gated.flatten(-2))
        return output

    @torch.no_grad()
    def prune(self, closed: Tensor) -> None:
        """Set the projections of the heads that ``closed`` marks to zero."""
        part = self.attention
        rows = closed.repeat_interleave(part.head_dim)
        for projection in (part.q_proj, part.k_proj, part.v_proj):
            for values in projection.parameters():
                values[rows] = 0.0
        part.out_proj.weight[:, rows] = 0.0

    @torch.no_grad()
    def plain(self) -> nn.Module:
        """A `MultiheadAttention` with the open heads only (one that gives zero where none is open)."""
        part = self.attention
        gates = self.head_gates.deterministic_gates().to(part.out_proj.weight.dtype)
        kept = torch.nonzero(gates > 0).flatten()
        kept = kept if kept.numel() else torch.zeros(1, dtype=torch.long, device=gates.device)
        has_bias = part.out_proj.bias is not None
        heads = int(kept.numel())
        small = unfilled(lambda: MultiheadAttention(part.embed_dim, heads, part.head_dim, has_bias), like=gates)
        small.train(self.training)
        rows = (kept[:, None] * part.head_dim + torch.arange(part.head_dim, device=kept.device)).flatten()
        for name in ("q_proj", "k_proj", "v_proj"):
            source, target = part.get_submodule(name), small.get_submodule(name)
            for parameter, values in target.named_parameters():
                values.copy_(source.get_parameter(parameter)[rows])
        scale = gates.repeat_interleave(part.head_dim)[rows]
        small.out_proj.weight.copy_(part.out_proj.weight[:, rows] * scale)
        if has_bias:
            small.out_proj.bias.copy_(part.out_proj.bias)
        for name, values in small.named_parameters():
            values.requires_grad_(part.get_parameter(name).requires_grad)
        return small
