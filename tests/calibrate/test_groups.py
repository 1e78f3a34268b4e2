"""Records kept or dropped together: whole groups, exact counts, the best union on problems small enough to try them all."""

from __future__ import annotations

import json
import re
from itertools import combinations, product
from pathlib import Path
from typing import Any

import attrs
import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
import scipy.optimize as so
import scipy.sparse as sp
from hypothesis import given, settings
from typer.testing import CliRunner

from l0_calibrate import CalibrationProblem, calibrate
from l0_calibrate.cli.app import app
from l0_calibrate.domain_counts import counts_by_groups, proportional_counts
from l0_calibrate.domains import calibrate_domains
from l0_calibrate.options import Options
from l0_calibrate.selectors.groups import fill, first_groups, nearest_counts, reachable_counts
from l0_core import InputError


def problem(seed: int, m: int = 20, n: int = 120, density: float = 0.3) -> CalibrationProblem:
    random = np.random.default_rng(seed)
    a = random.gamma(1.0, 1.0, (m, n)) * (random.random((m, n)) < density)
    w0 = random.uniform(0.5, 2.0, n)
    return CalibrationProblem(sp.csr_array(a), (a @ w0) * random.uniform(0.8, 1.2, m), initial_weights=w0)


def households(n: int, seed: int, largest: int = 4) -> np.ndarray:
    """Ids of households of 1 to ``largest`` records that do not lie side by side."""
    random = np.random.default_rng(seed)
    ids = np.repeat(np.arange(n), random.integers(1, largest + 1, n))[:n]
    return np.array([f"hh{i}" for i in random.permutation(ids)])


def is_whole(mask: np.ndarray, groups: np.ndarray) -> bool:
    return not set(groups[mask]) & set(groups[~mask])


# ------------------------------------------------------------------ the exact count


@settings(max_examples=300, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=9), st.integers(0, 40), st.integers(0, 2**31))
def test_fill_finds_the_count_where_there_is_one_at_nearly_the_greatest_worth(
    sizes: list[int], count: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    size = np.array(sizes, dtype=np.int64)
    worth, must = random.random(size.size), random.random(size.size) < 0.2
    subsets = np.array([[k >> g & 1 for g in range(size.size)] for k in range(2**size.size)], dtype=bool)
    sums = subsets @ size
    allowed = subsets[(sums == count) & subsets[:, must].all(axis=1)]
    free = sums[~subsets[:, must].any(axis=1)]
    wanted = count - int(size[must].sum())
    below, above = nearest_counts(size[~must], wanted)
    assert below == max(free[free <= wanted], default=None)
    assert above == (0 if wanted < 0 else min(free[free >= wanted], default=None))
    if not len(allowed):
        with pytest.raises(InputError, match="no whole groups"):
            fill(size, worth, must, count)
        return
    stays = fill(size, worth, must, count)
    assert size[stays].sum() == count
    assert stays[must].all()
    # The window of the exchange holds all sums of so few groups: the worth is the greatest there is.
    assert worth[stays].sum() == pytest.approx((allowed @ worth).max())


def test_fill_widens_its_window_until_it_finds_a_way() -> None:
    # Only all the sevens but none of the fifties make 49 beside the two that are worth most.
    size = np.array([50] * 3 + [7] * 14, dtype=np.int64)
    worth = np.concatenate(([90.0, 80.0, 70.0], np.full(14, 1.0)))
    stays = fill(size, worth, np.zeros(17, bool), 98)
    assert size[stays].sum() == 98


# ------------------------------------------------------------------ selections


@pytest.mark.parametrize("selector", ["prune", "exchange", "random"])
@pytest.mark.parametrize("keep", [1, 17, 60, 119])
def test_exactly_k_records_in_whole_groups(selector: str, keep: int) -> None:
    asked, groups = problem(0), households(120, 0)
    single = np.flatnonzero(np.array([np.sum(groups == g) for g in groups]) == 1)
    assert single.size  # so that every count can be had
    result = calibrate(asked, keep=keep, max_weight_ratio=5, selector=selector, groups=groups)
    kept = result.weights > 0
    assert kept.sum() == keep
    assert is_whole(kept, groups)
    again = calibrate(asked, keep=keep, max_weight_ratio=5, selector=selector, groups=groups)
    assert again.fingerprint == result.fingerprint


def optimum(asked: CalibrationProblem, kept: np.ndarray, bound: float) -> float:
    """The least mean |relative error| on some records, weights up to ``bound`` times the scaled-up ones (HiGHS)."""
    a = asked.matrix.toarray()[:, kept] / np.maximum(np.abs(asked.targets), 1)[:, None]
    b = asked.targets / np.maximum(np.abs(asked.targets), 1)
    m, k = a.shape
    upper = bound * asked.n_records / kept.sum() * asked.initial_weights[kept]
    cost = np.concatenate((np.zeros(k), np.full(m, 1 / m)))
    rows = np.vstack((np.hstack((a, -np.eye(m))), np.hstack((-a, -np.eye(m)))))
    limits = [*((0, u) for u in upper), *[(0, None)] * m]
    return float(so.linprog(cost, rows, np.concatenate((b, -b)), bounds=limits).fun)


def test_exchange_ranks_among_the_best_of_all_unions() -> None:
    ranks = []
    for seed in range(6):
        asked = problem(seed, m=6, n=20, density=0.6)
        groups = np.repeat(np.arange(10), [1, 1, 2, 2, 2, 2, 2, 3, 3, 2])
        unions = [np.isin(groups, union) for size in range(2, 8) for union in combinations(range(10), size)]
        unions = [mask for mask in unions if mask.sum() == 8]
        every = np.array([optimum(asked, mask, 5.0) for mask in unions])
        result = calibrate(asked, keep=8, max_weight_ratio=5, selector="exchange", groups=groups, spread=0.0)
        here = optimum(asked, result.weights > 0, 5.0)
        ranks.append(float((every < here - 1e-9).mean()))
    # A local search among some 100 unions: mostly the best.
    assert np.median(ranks) <= 0.03
    assert max(ranks) <= 0.4


def test_whole_groups_cost_little_beside_single_records() -> None:
    asked, groups = problem(1, m=40, n=400, density=0.1), households(400, 1)
    alone = calibrate(asked, keep=80, max_weight_ratio=5)
    together = calibrate(asked, keep=80, max_weight_ratio=5, groups=groups)
    chance = calibrate(asked, keep=80, max_weight_ratio=5, groups=groups, selector="random")
    assert together.objective < 0.7 * chance.objective
    assert alone.objective <= together.objective


@pytest.mark.parametrize("selector", ["prune", "exchange", "random"])
def test_flags_of_a_member_hold_for_its_group(selector: str) -> None:
    asked, groups = problem(2), households(120, 2)
    w0 = asked.initial_weights.copy()
    w0[11] = 0.0
    asked = CalibrationProblem(asked.matrix, asked.targets, initial_weights=w0)
    must, never = np.zeros(120, bool), np.zeros(120, bool)
    must[5], never[80] = True, True
    assert groups[5] not in (groups[80], groups[11])
    result = calibrate(asked, keep=30, selector=selector, groups=groups, must_keep=must, never_keep=never)
    kept = result.weights > 0
    assert kept[groups == groups[5]].all()
    assert not kept[groups == groups[80]].any()
    assert not kept[groups == groups[11]].any()  # a member without weight: the group cannot be kept whole
    assert is_whole(kept, groups)


@pytest.mark.parametrize(
    ("count", "records"), [(1, [2, 3]), (2, [2, 3]), (4, [2, 3]), (5, [2, 3, 4, 5, 6]), (6, [2, 3, 4, 5, 6])]
)
def test_the_groups_of_the_first_records_fill_a_count_and_one_is_there_at_least(count: int, records: list[int]) -> None:
    groups, ranked = np.array([0, 0, 1, 1, 2, 2, 2]), np.array([3, 5, 2, 0])
    assert first_groups(groups, ranked, count).tolist() == records


# ------------------------------------------------------------------ domains


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**31))
def test_counts_of_domains_are_the_nearest_to_their_shares_that_whole_groups_give(seed: int) -> None:
    random = np.random.default_rng(seed)
    size = random.integers(1, 5, int(random.integers(3, 10)))
    home = np.sort(np.concatenate((np.arange(2), random.integers(0, 2, size.size - 2))))
    groups, domain = np.repeat(np.arange(size.size), size), np.repeat(home, size)
    flags = [np.repeat(random.random(size.size) < part, size) for part in (0.2, 0.1)]
    must, never = flags[0] & ~flags[1], flags[1] | (random.random(groups.size) < 0.05)
    never &= ~must
    keep = int(random.integers(1, groups.size + 1))
    try:
        share = proportional_counts(keep, np.arange(2), domain, must, np.isin(groups, groups[never]))
    except InputError as error:
        with pytest.raises(InputError, match=re.escape(str(error))):
            counts_by_groups(keep, np.arange(2), domain, must, never, groups)
        return
    ways = {
        tuple(np.bincount(home, size * np.array(mask), 2).astype(int))
        for mask in product((0, 1), repeat=size.size)
        if all(taken or not must[groups == g].any() for g, taken in enumerate(mask))
        and not any(taken and never[groups == g].any() for g, taken in enumerate(mask))
    }
    sums = {sum(way) for way in ways if min(way) > 0}
    if keep not in sums:
        near = [max((s for s in sums if s < keep), default=None), min((s for s in sums if s > keep), default=None)]
        with pytest.raises(InputError, match="cannot be shared out") as fault:
            counts_by_groups(keep, np.arange(2), domain, must, never, groups)
        assert " and ".join(str(count) for count in near if count is not None) in str(fault.value)
        return
    found = counts_by_groups(keep, np.arange(2), domain, must, never, groups)
    assert found in ways
    assert sum(found) == keep

    def off(way: tuple[int, ...]) -> int:
        return sum((a - b) ** 2 for a, b in zip(way, share, strict=True))

    assert off(found) == min(off(way) for way in ways if sum(way) == keep and min(way) > 0)


def test_domains_of_hundreds_of_records_keep_whole_groups_next_to_their_shares() -> None:
    """Counts of more than 62 records: they were searched for in 64 bits, and strayed or were refused."""
    sizes, home = np.full(2000, 2), np.repeat([0, 1, 2], [1200, 600, 200])
    groups, domain = np.repeat(np.arange(2000), sizes), np.repeat(home, sizes)
    none = np.zeros(groups.size, bool)
    assert counts_by_groups(1000, np.arange(3), domain, none, none, groups) == (600, 300, 100)
    assert reachable_counts(sizes, np.int64(199), np.int64(204)).tolist() == [200, 202, 204]
    assert nearest_counts(sizes, np.int64(199)) == (198, 200)


def in_areas(seed: int, groups: np.ndarray) -> CalibrationProblem:
    """Two areas with targets of their own; each group lies in the area that the number in its id says."""
    asked = problem(seed)
    north = np.array([int(g[2:]) % 2 == 0 for g in groups])
    a = asked.matrix.toarray()
    a[:10, ~north], a[10:, north] = 0.0, 0.0
    area = pd.DataFrame({"area": np.where(north, "north", "south"), "household": groups})
    return CalibrationProblem(
        sp.csr_array(a), a @ asked.initial_weights, initial_weights=asked.initial_weights, record_info=area
    )


def test_a_domain_may_have_no_more_than_the_groups_that_must_stay() -> None:
    groups = np.array([0, 0, 0, 1, 1, 1, 2, 3, 4])
    domain = np.repeat([0, 1], [6, 3])
    must = groups == 0
    assert counts_by_groups(4, np.arange(2), domain, must, np.zeros(9, bool), groups) == (3, 1)


def test_domains_keep_whole_groups_at_the_exact_count() -> None:
    groups = households(120, 7)
    asked = in_areas(7, groups)
    options = Options(keep=31, groups=groups, max_weight_ratio=5, must_keep=np.arange(120) == 3)
    result = calibrate_domains(asked, "area", options)
    kept = result.weights > 0
    assert kept.sum() == 31
    assert is_whole(kept, groups)
    assert kept[groups == groups[3]].all()
    north = (asked.record_info["area"] == "north").to_numpy()
    assert kept[north].sum() == pytest.approx(31 * north.mean(), abs=4)


def test_groups_that_cross_domains_are_refused_by_name() -> None:
    groups = households(120, 8)
    asked = in_areas(8, groups)
    across = groups.copy()
    moved = np.flatnonzero(asked.record_info["area"] != asked.record_info["area"][0])[0]
    across[[0, moved]] = "both"
    with pytest.raises(InputError, match=r"each lie in one domain.*: both$"):
        calibrate_domains(asked, "area", Options(keep=30, groups=across))


# ------------------------------------------------------------------ the door


def test_a_count_that_no_union_gives_is_refused_with_the_nearest_that_can() -> None:
    asked, pairs = problem(3), np.repeat(np.arange(60), 2)
    with pytest.raises(InputError, match=r"keep=1 cannot be had by whole groups .*: 2$"):
        calibrate(asked, keep=1, groups=pairs)
    with pytest.raises(InputError, match=r"keep=31 cannot be had by whole groups .*: 30 and 32"):
        calibrate(asked, keep=31, groups=pairs)
    must = np.zeros(120, bool)
    must[[0, 2]] = True
    with pytest.raises(InputError, match="4 records must be kept, more than keep=2"):
        calibrate(asked, keep=2, groups=pairs, must_keep=must)
    never = np.zeros(120, bool)
    never[1] = True
    with pytest.raises(
        InputError,
        match=r"cannot be: 2 ruled out by never_keep \(0, 1\); a record that cannot be kept takes its whole group",
    ):
        calibrate(asked, keep=10, groups=pairs, must_keep=must, never_keep=never)
    with pytest.raises(InputError, match="above the 118 records"):
        calibrate(asked, keep=119, groups=pairs, never_keep=never)


def test_bad_ids_are_refused_by_name() -> None:
    asked = problem(4)
    groups: Any = households(120, 4).astype(object)
    with pytest.raises(InputError, match="one id for each of the 120 records"):
        calibrate(asked, keep=10, groups=groups[:-1])
    groups[7] = None
    with pytest.raises(InputError, match="record 7 has no id in groups"):
        calibrate(asked, keep=10, groups=groups)
    with pytest.raises(InputError, match="groups needs a budget"):
        calibrate(asked, groups=households(120, 4))
    with pytest.raises(InputError, match="cannot keep groups whole"):
        calibrate(asked, keep=10, groups=households(120, 4), selector="hybrid")


def test_groups_are_named_in_the_record_of_a_run() -> None:
    groups = households(120, 5)
    result = calibrate(problem(5), keep=12, groups=groups)
    assert result.summary()["options"]["groups"] == len(set(groups))
    assert attrs.evolve(result.options).groups is not groups


def test_the_command_line_takes_a_column_of_the_records(tmp_path: Path) -> None:
    asked, groups = problem(6), households(120, 6)
    sp.save_npz(tmp_path / "matrix.npz", asked.matrix)
    pd.DataFrame({"name": [f"t{i}" for i in range(20)], "value": asked.targets}).to_csv(
        tmp_path / "targets.csv", index=False
    )
    records = {"record_id": np.arange(120), "household": groups, "initial_weight": asked.initial_weights}
    pd.DataFrame(records).to_csv(tmp_path / "records.csv", index=False)
    command = ["fit", str(tmp_path), "--keep", "30", "--groups", "household", "--dense-bound", "--quiet"]
    done = CliRunner().invoke(app, [*command, "--out", str(tmp_path / "run")])
    assert done.exit_code == 0, done.output
    weights = pd.read_parquet(tmp_path / "run" / "weights.parquet")
    assert weights["kept"].sum() == 30
    assert is_whole(weights["kept"].to_numpy(), groups)
    summary = json.loads((tmp_path / "run" / "result.json").read_text())
    assert summary["dense_bound"] <= summary["loss"]


def test_the_command_line_takes_groups_and_domains_together(tmp_path: Path) -> None:
    groups = households(120, 9)
    in_areas(9, groups).save(tmp_path / "problem")
    command = ["fit", str(tmp_path / "problem"), "--keep", "30", "--groups", "household", "--by", "area", "--quiet"]
    done = CliRunner().invoke(app, [*command, "--out", str(tmp_path / "run")])
    assert done.exit_code == 0, done.output
    weights = pd.read_parquet(tmp_path / "run" / "weights.parquet")
    assert weights["kept"].sum() == 30
    assert is_whole(weights["kept"].to_numpy(), groups)
