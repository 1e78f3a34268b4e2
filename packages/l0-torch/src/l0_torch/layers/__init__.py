"""Layers whose weights, units, channels or heads have Hard Concrete gates."""

from l0_torch.layers.attention import L0MultiheadAttention, MultiheadAttention
from l0_torch.layers.base import GatedLayer
from l0_torch.layers.conv import L0Conv1d, L0Conv2d
from l0_torch.layers.depthwise import L0DepthwiseConv2d
from l0_torch.layers.embedding import L0Embedding
from l0_torch.layers.linear import L0Linear
from l0_torch.layers.mlp import SparseMLP

__all__ = [
    "GatedLayer",
    "L0Conv1d",
    "L0Conv2d",
    "L0DepthwiseConv2d",
    "L0Embedding",
    "L0Linear",
    "L0MultiheadAttention",
    "MultiheadAttention",
    "SparseMLP",
]
