"""The production-shaped example: a run that is cut off and goes on is one run, and the five lines keep the count."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

EXAMPLE = Path(__file__).parents[2] / "examples" / "production_pipeline.py"


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("production_pipeline", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    matrix = sp.random_array((12, 300), density=0.3, rng=rng, format="csr", dtype=np.float32)
    weights = rng.uniform(50.0, 150.0, 300)
    values = matrix @ (weights * rng.uniform(0.8, 1.4, 300))
    variables = ["returns", "wages", "interest"] * 4
    place = tmp_path / "problem"
    place.mkdir()
    sp.save_npz(place / "matrix.npz", matrix)
    names = [f"{variable}/{i}" for i, variable in enumerate(variables)]
    pd.DataFrame({"name": names, "value": values, "variable": variables}).to_csv(place / "targets.csv", index=False)
    ids = np.arange(1000, 1300)
    pd.DataFrame({"record_id": ids, "initial_weight": weights}).to_parquet(place / "records.parquet")
    return place


def test_cut_off_and_resumed_is_one_run(example, folder, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    parts.mkdir()
    expected = example.fit_with_l0_python(folder, whole, "about 550")
    assert example.fit_with_l0_python(folder, parts, "about 550", stop_after=200) is None
    found = example.fit_with_l0_python(folder, parts, "about 550")
    assert np.array_equal(found, expected)
    kept = pd.read_parquet(parts / "weights_l0_python.parquet")
    assert len(kept) == np.count_nonzero(found)
    assert kept["record_id"].tolist() == (1000 + np.flatnonzero(found)).tolist()


def test_our_five_lines_keep_the_count(example, folder, tmp_path):
    weights = example.fit_with_l0(folder, tmp_path / "out", 40)
    assert np.count_nonzero(weights) == 40
    table = pd.read_parquet(tmp_path / "out" / "weights.parquet")
    assert table["record_id"].tolist() == list(range(1000, 1300))
    np.testing.assert_allclose(table["weight"], weights)
    assert example.describe("ours", weights, folder, 0.0)["loss"] < 0.05
