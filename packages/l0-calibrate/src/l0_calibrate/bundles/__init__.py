"""Columns in bundles: rows that are multiples of one another on some of them are kept once."""
