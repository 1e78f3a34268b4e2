"""Tables, whichever library holds them."""

from __future__ import annotations

from typing import Any

import pandas as pd


def as_frame(table: Any) -> Any:
    """A pandas DataFrame of a table that can be made one (polars, Arrow); everything else as it is."""
    if isinstance(table, pd.DataFrame | pd.Series) or not hasattr(table, "to_pandas"):
        return table
    made = table.to_pandas()
    return made if isinstance(made, pd.DataFrame) else table
