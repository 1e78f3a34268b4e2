"""Sampling designs: inclusion probabilities exact by enumeration and by Monte-Carlo, counts exact, links whole."""

import itertools
import math
from functools import partial

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from l0_core import InputError, get_gate
from l0_gates.designs import (
    conditional_probabilities,
    cube,
    horvitz_thompson_weights,
    inclusion_probabilities,
    joint_probabilities,
    max_entropy,
    poisson,
    rejective,
    sampford,
    systematic,
)
from l0_gates.designs.conditional_poisson import maximum_entropy_parameters, size_probability

FIXED = {"systematic": systematic, "sampford": sampford, "max_entropy": max_entropy, "cube": cube}
NAMES = ["random", "poisson", "systematic", "sampford", "max_entropy", "cube"]
SIZES = np.array([1.0, 2.0, 0.5, 9.0, 3.0, 3.0, 0.2, 4.0])


def frequencies(draw, draws=4_000, seed=7):
    rng = np.random.default_rng(seed)
    return sum(draw(rng).astype(float) for _ in range(draws)) / draws


def assert_frequencies(observed, wanted, draws=4_000):
    # 4.5 standard errors: one false alarm in some 10,000 tests of ten units.
    error = 4.5 * np.sqrt(wanted * (1 - wanted) / draws) + 1e-12
    assert np.all(np.abs(observed - wanted) <= error), (observed, wanted)


@settings(deadline=None)
@given(st.lists(st.floats(0.0, 1e6), min_size=1, max_size=30), st.data())
def test_inclusion_probabilities_add_up_and_are_proportional(values, data):
    sizes = np.array(values)
    positive = int((sizes > 0).sum())
    if not positive:
        with pytest.raises(InputError, match="zero for every unit"):
            inclusion_probabilities(sizes, 1)
        return
    n = data.draw(st.integers(1, positive))
    chances = inclusion_probabilities(sizes, n)
    assert chances.sum() == pytest.approx(n, rel=1e-12)
    assert ((chances >= 0) & (chances <= 1)).all()
    below = (chances < 1) & (sizes > 1e-200)
    if below.any():
        rate = chances[below] / sizes[below]
        np.testing.assert_allclose(rate, rate[0], rtol=1e-9)
        # Whoever is certain would have exceeded 1 at that rate.
        assert (sizes[chances == 1] * rate[0] >= 1 - 1e-9).all()


@pytest.mark.parametrize("name", sorted(FIXED))
@pytest.mark.parametrize("n", [1, 3, 6])
def test_fixed_size_designs_have_the_size_and_the_probabilities(name, n):
    wanted = inclusion_probabilities(SIZES, n)
    rng = np.random.default_rng(0)
    draw = FIXED[name]
    if name == "max_entropy":
        uncertain = (wanted > 0) & (wanted < 1)
        parameters = maximum_entropy_parameters(wanted[uncertain], round(wanted[uncertain].sum()))
        draw = partial(max_entropy, parameters=parameters)
        np.testing.assert_array_equal(
            draw(wanted, np.random.default_rng(3)), max_entropy(wanted, np.random.default_rng(3))
        )
    assert {int(draw(wanted, rng).sum()) for _ in range(200)} == {n}
    assert_frequencies(frequencies(lambda rng: draw(wanted, rng)), wanted)


def test_poisson_has_the_probabilities_and_a_random_size():
    wanted = inclusion_probabilities(SIZES, 3)
    assert_frequencies(frequencies(lambda rng: poisson(wanted, rng)), wanted)
    rng = np.random.default_rng(0)
    assert len({int(poisson(wanted, rng).sum()) for _ in range(200)}) > 2


def by_enumeration(p, n):
    """First- and second-order probabilities of Poisson sampling given size n, over every sample."""
    first, second, whole = np.zeros(p.size), np.zeros((p.size, p.size)), 0.0
    for sample in itertools.combinations(range(p.size), n):
        inside = np.isin(np.arange(p.size), sample)
        chance = np.prod(np.where(inside, p, 1 - p))
        whole += chance
        first[inside] += chance
        second[np.ix_(inside, inside)] += chance
    return first / whole, second / whole, whole


@pytest.mark.parametrize("n", [1, 2, 4, 6])
def test_conditional_probabilities_are_those_of_enumeration(n):
    p = np.array([0.1, 0.5, 0.5, 0.9, 0.03, 0.7, 0.45])
    first, second, whole = by_enumeration(p, n)
    assert size_probability(p, n) == pytest.approx(whole, rel=1e-12)
    np.testing.assert_allclose(conditional_probabilities(p, n), first, rtol=1e-11)
    np.testing.assert_allclose(joint_probabilities(p, n), second, rtol=1e-10)


@pytest.mark.parametrize("name", sorted(FIXED))
def test_of_no_units_none_is_drawn(name):
    assert FIXED[name](np.zeros(0), np.random.default_rng(0)).shape == (0,)


@pytest.mark.parametrize("n", [1, 4, 7, 8])
@pytest.mark.parametrize("size", [1e-9, 0.001, 0.999])
def test_conditional_probabilities_hold_for_sizes_that_poisson_sampling_hardly_has(n, size):
    """Only the odds matter, so it must not matter either how likely the size is under the probabilities given."""
    p = size * (1 - 1e-2 * SIZES)
    first, second, _ = by_enumeration(p, n)
    np.testing.assert_allclose(conditional_probabilities(p, n), first, rtol=1e-10)
    np.testing.assert_allclose(joint_probabilities(p, n), second, rtol=1e-9)


def test_conditional_probabilities_of_many_units_are_those_of_the_convolution():
    """Against the distribution of the count by convolution, one unit after another."""
    p = np.random.default_rng(1).uniform(0.001, 0.9, size=1_500)
    n = round(p.sum())

    def counts(chances):
        law = np.zeros(chances.size + 1)
        law[0] = 1.0
        for chance in chances:
            law[1:] = law[1:] * (1 - chance) + law[:-1] * chance
            law[0] *= 1 - chance
        return law

    whole = counts(p)[n]
    first = conditional_probabilities(p, n)
    for k in (0, 7, 1_499):
        assert first[k] == pytest.approx(p[k] * counts(np.delete(p, k))[n - 1] / whole, rel=1e-11)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.floats(0.02, 50.0), min_size=2, max_size=25), st.data())
def test_maximum_entropy_parameters_give_the_probabilities_asked_for(values, data):
    sizes = np.array(values)
    n = data.draw(st.integers(1, sizes.size - 1))
    wanted = inclusion_probabilities(sizes, n)
    inside = (wanted > 0) & (wanted < 1 - 1e-9)
    if not inside.any():
        return
    wanted, n = wanted[inside], n - int((~inside).sum())
    wanted = wanted * (n / wanted.sum())
    p = maximum_entropy_parameters(wanted, n)
    np.testing.assert_allclose(conditional_probabilities(p, n), wanted, atol=1e-9)


def test_sampford_draws_by_its_law():
    """Chi-square of the frequencies of all samples against Sampford's formula."""
    wanted = inclusion_probabilities(np.array([1.0, 2.0, 3.0, 4.0, 2.5]), 2)
    samples = list(itertools.combinations(range(5), 2))
    odds = wanted / (1 - wanted)
    law = np.array([sum(1 - wanted[list(s)]) * np.prod(odds[list(s)]) for s in samples])
    law /= law.sum()
    for k in range(5):
        assert sum(c for c, s in zip(law, samples, strict=True) if k in s) == pytest.approx(wanted[k], rel=1e-12)
    rng = np.random.default_rng(2)
    counts = dict.fromkeys(samples, 0)
    for _ in range(6_000):
        counts[tuple(int(i) for i in np.flatnonzero(sampford(wanted, rng)))] += 1
    observed = np.array([counts[s] for s in samples])
    statistic = np.sum((observed - 6_000 * law) ** 2 / (6_000 * law))
    assert statistic < 33.7  # the 1 - 1e-4 quantile of chi-square with 9 degrees of freedom


def test_the_cube_balances():
    rng = np.random.default_rng(4)
    sizes = rng.uniform(0.5, 2.0, size=600)
    variables = np.column_stack([rng.uniform(size=600), rng.normal(size=600), sizes * rng.uniform(0.5, 1.5, size=600)])
    chances = inclusion_probabilities(sizes, 120)

    def error(draw):
        sample = draw(rng)
        return np.abs((variables[sample] / chances[sample, None]).sum(axis=0) - variables.sum(axis=0))

    balanced = np.mean([error(lambda rng: cube(chances, rng, variables)) for _ in range(60)], axis=0)
    random = np.mean([error(lambda rng: sampford(chances, rng)) for _ in range(60)], axis=0)
    assert (balanced < 0.3 * random).all()
    few = inclusion_probabilities(SIZES, 3)
    observed = frequencies(lambda rng: cube(few, rng, np.column_stack([SIZES, SIZES**2])))
    assert_frequencies(observed, few)


def test_large_samples_are_quick_and_exact():
    chances = inclusion_probabilities(np.random.default_rng(0).lognormal(size=60_000), 6_000)
    for draw in (*FIXED.values(), rejective):
        assert int(draw(chances, np.random.default_rng(1)).sum()) == 6_000


@pytest.mark.parametrize("name", NAMES)
def test_strategies_keep_exactly_and_say_their_probabilities(name):
    draws = 600 if name == "max_entropy" else 2_000
    matrix = np.vstack([np.ones(8), SIZES])
    strategy = get_gate(name, keep=4, must_keep=[6]).fit(matrix, matrix.sum(axis=1), reference=SIZES)
    selections = [strategy.select(8, seed=s) for s in range(draws)]
    assert all(len(s) == 4 and s.mask[6] for s in selections)
    observed = np.mean([s.mask for s in selections], axis=0)
    chances = selections[0].inclusion_probabilities
    assert chances.sum() == pytest.approx(4)
    assert_frequencies(observed, chances, draws)
    np.testing.assert_array_equal(selections[5].indices, strategy.select(SIZES, seed=5).indices)
    assert set(selections[0].kinds) == {"must", "random"}


@pytest.mark.parametrize("name", NAMES)
def test_horvitz_thompson_totals_are_unbiased(name):
    draws = 600 if name == "max_entropy" else 2_000
    strategy = get_gate(name, keep=3).fit(SIZES[None, :], [1.0], reference=SIZES)
    values = np.arange(1.0, 9.0)
    totals = [horvitz_thompson_weights(strategy.select(8, seed=s), SIZES) @ values for s in range(draws)]
    assert abs(np.mean(totals) - SIZES @ values) < 4.5 * np.std(totals) / math.sqrt(draws) + 1e-9


@pytest.mark.parametrize("name", NAMES)
def test_strata_have_their_counts_and_groups_come_whole(name):
    rng = np.random.default_rng(5)
    groups = np.repeat(np.arange(120), rng.integers(1, 5, size=120))
    strata = np.where(groups < 50, "north", "south")
    order = rng.permutation(groups.size)
    groups, strata = groups[order], strata[order]
    reference = rng.uniform(1, 3, size=groups.size)
    strategy = get_gate(name, strata=strata, groups=groups, must_keep=[3])
    strategy.fit(sp.csr_array(rng.uniform(size=(4, groups.size))), np.ones(4), reference=reference)
    for seed in range(5):
        selection = strategy.select(groups.size, keep=100, seed=seed)
        assert len(selection) == 100
        for group in np.unique(groups):
            assert selection.mask[groups == group].all() or not selection.mask[groups == group].any()
        assert selection.mask[groups == groups[3]].all()
        north = int(selection.mask[strata == "north"].sum())
        share = reference[strata == "north"].sum() / reference.sum()
        assert abs(north - 100 * share) < 6
        assert selection.inclusion_probabilities.sum() == pytest.approx(100)


def test_groups_of_each_size_are_about_as_many_as_their_share():
    lengths, keep = np.repeat([1, 2, 3], [60, 30, 20]), 61  # 60 items each
    strategy = get_gate("sampford", groups=np.repeat(np.arange(110), lengths))
    mask = strategy.select(180, keep=keep, seed=0).mask
    numbers = [int(mask[k * 60 : (k + 1) * 60].sum()) // (k + 1) for k in range(3)]

    def off(candidate):
        return sum(k * (number - keep / 3 / k) ** 2 for k, number in enumerate(candidate, 1))

    every = itertools.product(range(40), range(25), range(15))
    assert tuple(numbers) == min((c for c in every if c[0] + 2 * c[1] + 3 * c[2] == keep), key=off)


def test_a_stratum_too_small_for_one_has_none():
    strata = ["large"] * 50 + ["small"]
    selection = get_gate("sampford", strata=strata).select(51, keep=3)
    assert selection.inclusion_probabilities[50] == 0.0
    assert selection.inclusion_probabilities[:50].sum() == pytest.approx(3)


def test_groups_without_size_take_the_place_of_none():
    groups = np.array([0, 1, 2, 3, 4, 5, 5, 6, 6, 7, 7, 8, 8])  # five singles; of the pairs only the first has a size
    reference = np.array([1.0] * 5 + [9.0] * 2 + [0.0] * 6)
    strategy = get_gate("sampford", groups=groups).fit(reference[None, :], [1.0], reference=reference)
    for seed in range(5):
        selection = strategy.select(13, keep=5, seed=seed)
        assert selection.mask[5:].tolist() == [True] * 2 + [False] * 6
        assert selection.mask[:5].sum() == 3


def test_bad_input():
    with pytest.raises(InputError, match="only 2 units"):
        inclusion_probabilities([1.0, 0.0, 1.0], 3)
    with pytest.raises(InputError, match="unit 1"):
        inclusion_probabilities([1.0, np.nan], 1)
    with pytest.raises(InputError, match="whole number"):
        sampford([0.5, 0.6], np.random.default_rng(0))
    with pytest.raises(InputError, match=r"probabilities must have shape \(units,\), got \(1, 2\)"):
        systematic([[0.5, 0.5]], np.random.default_rng(0))
    with pytest.raises(InputError, match=r"size_measure must have shape \(4,\), got \(3,\)"):
        get_gate("systematic", size_measure=np.ones(3)).select(4, keep=2)
    with pytest.raises(InputError, match=r"strata must have shape \(4,\), one label for each item"):
        get_gate("random", strata=["a", "b"]).select(4, keep=2)
    for balance, words in (
        (np.ones((3, 1)), r"balance must have shape \(2, variables\), got \(3, 1\)"),
        (np.ones(2), r"balance must have shape \(2, variables\), got \(2,\)"),
        ([[1.0], [np.inf]], "balance of unit 1 is not finite"),
        ([["a"], ["b"]], "balance must be real numbers"),
        (np.array([[1j], [1.0]]), "balance must be real numbers"),
    ):
        with pytest.raises(InputError, match=words):
            cube([0.5, 0.5], np.random.default_rng(0), balance)
    with pytest.raises(InputError, match=r"reference must have shape \(4,\), got \(3,\)"):
        horvitz_thompson_weights(get_gate("random").select(4, keep=2), np.ones(3))
    with pytest.raises(InputError, match="from 0 to 1"):
        poisson([0.5, 1.2], np.random.default_rng(0))
    with pytest.raises(InputError, match="no count"):
        get_gate("random").select(4)
    with pytest.raises(InputError, match="more than 1"):
        get_gate("random", must_keep=[0, 1]).select(4, keep=1)
    with pytest.raises(InputError, match="exactly 3 items"):
        get_gate("sampford", groups=[0, 0, 1, 1]).select(4, keep=3)
    with pytest.raises(InputError, match="more than one stratum"):
        get_gate("sampford", groups=[0, 0, 1, 1], strata=[0, 1, 1, 1]).select(4, keep=2)
    with pytest.raises(InputError, match="no inclusion probabilities"):
        horvitz_thompson_weights(get_gate("random").select(3, keep=1).__class__([0], 3))


@pytest.mark.parametrize("probabilities", [[0.7, 0.7], [0.8, 0.8]])
def test_designs_of_fixed_size_need_a_whole_sum_and_poisson_sampling_none(probabilities):
    for design in (systematic, sampford, rejective, max_entropy):
        with pytest.raises(InputError, match="a design of fixed size needs a whole number"):
            design(probabilities, np.random.default_rng(0))
    assert poisson(probabilities, np.random.default_rng(0)).shape == (2,)


def test_more_than_have_a_size_are_not_drawn():
    strategy = get_gate("sampford", strata=["a", "a", "b", "b"])
    strategy.fit(np.ones((1, 4)), [1.0], reference=np.array([1.0, 0.0, 1.0, 1.0]))
    with pytest.raises(InputError, match="4 items are to be drawn, but only 3 have a positive size"):
        strategy.select(4, keep=4)


def test_positions_and_flags_are_told_apart():
    flags = np.zeros(6, dtype=bool)
    flags[[0, 4]] = True
    for must in (flags, [4, 0], np.array([0, 4], dtype=np.int32)):
        selection = get_gate("sampford", must_keep=must).select(6, keep=3)
        assert selection.mask[[0, 4]].all()
        np.testing.assert_array_equal(selection.inclusion_probabilities[[0, 4]], 1.0)
    for must in ([1.5], flags[:4], [[0, 1]], [6], [-1], ["a"]):
        with pytest.raises(InputError, match="must_keep"):
            get_gate("random", must_keep=must).select(6, keep=3)
    with pytest.raises(InputError, match="balance_rows"):
        get_gate("cube", balance_rows=[0.5]).fit(np.eye(3), np.ones(3))
    with pytest.raises(InputError, match="balance_rows must not be negative, got -1"):
        get_gate("cube", balance_rows=-1).fit(np.eye(3), np.ones(3))


def test_probabilities_and_references_are_real_numbers():
    with pytest.raises(InputError, match="probabilities must be real numbers"):
        systematic(["a", "b"], np.random.default_rng(0))
    with pytest.raises(InputError, match="reference must be real numbers"):
        horvitz_thompson_weights(get_gate("random").select(2, keep=1), np.array([1j, 1.0]))


@pytest.mark.parametrize("what", ["strata", "groups"])
@pytest.mark.parametrize("labels", [[None, "a", "a", "b"], [1.0, np.nan, 1.0, np.nan], pd.array(["a", pd.NA] * 2)])
def test_missing_labels_are_refused(what, labels):
    with pytest.raises(InputError, match=f"{what} of item . is missing"):
        get_gate("random", **{what: labels}).select(4, keep=2)
    mixed = get_gate("random", strata=np.array([1, "1", 1, "1"], dtype=object)).select(4, keep=2)
    assert mixed.mask[[0, 2]].sum() == mixed.mask[[1, 3]].sum() == 1
