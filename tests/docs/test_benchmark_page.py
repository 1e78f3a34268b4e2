"""The page of figures is the one that its script writes from the results: nothing on it is typed by hand."""

from __future__ import annotations

import runpy
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_page_of_figures_is_up_to_date():
    script = runpy.run_path(str(ROOT / "benchmarks" / "write_page.py"))
    written = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    assert written == script["page"](), "run: python benchmarks/write_page.py"
