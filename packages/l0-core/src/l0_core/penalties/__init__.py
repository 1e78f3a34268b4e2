"""Penalties: what gates and weights cost."""
