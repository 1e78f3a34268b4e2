"""Backends: where the numbers live."""
