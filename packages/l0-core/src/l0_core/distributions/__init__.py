"""Gate distributions: how one gate behaves."""
