"""The tables of the page on gates are those of the results: nothing in them is typed by hand."""

from __future__ import annotations

import runpy
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_tables_of_the_page_on_gates_are_up_to_date():
    script = runpy.run_path(str(ROOT / "benchmarks" / "write_page.py"))
    written = (ROOT / "docs" / "gates.md").read_text(encoding="utf-8")
    assert written.count("| hard_concrete") >= 10
    assert written == script["gates_page"](), "run: python benchmarks/write_page.py"
