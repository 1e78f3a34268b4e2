"""The calibrator's kit sees what it is for: losses, selectors, solvers and distances, each broken in one way (see ``broken``)."""

from __future__ import annotations

from pathlib import Path

import pytest

from broken_classes import failures_of

OPTIMUM = "test_the_optimum_is_found_and_never_exceeded_by_the_bound"
EARLY = "test_wherever_it_stops_the_point_is_sound_and_the_bound_valid"

SEEN = {
    "losses": {
        "TestWrongConjugate": "test_price_and_conjugate_are_those_of_one_another",
        "TestValuesOfAnotherPrice": "test_the_best_ratio_of_one_record_is_that_of_a_search",
        "TestNotConvex": "test_prices_are_convex",
        "TestWeightsAreIgnored": "test_a_target_costs_in_proportion_to_its_weight",
        "TestTolerancesAreIgnored": "test_what_is_tolerated_costs_nothing",
        "TestNoNumber": "test_a_price_has_a_valid_entry_for_each_target",
        "TestNotConvexOnTheQuiet": "test_a_loss_with_a_price_to_follow_says_so_of_endless_errors",
        "TestNeverSettles": "test_the_sequence_of_prices_settles",
        "TestAbandonedStillPay": "test_abandoned_targets_cost_nothing_from_there_on",
        "TestGlobalNoise": "test_prices_are_convex",
    },
    "selectors": {
        "TestOneTooFew": "test_exactly_the_count_is_kept",
        "TestFlagsAreIgnored": "test_flags_and_records_without_weight_are_heeded",
        "TestRecordsWithoutWeight": "test_flags_and_records_without_weight_are_heeded",
        "TestSplitsGroups": "test_groups_are_kept_whole",
        "TestGlobalNoise": "test_the_seed_is_all_the_randomness",
        "TestWatchedIsAnother": "test_watching_changes_nothing_and_an_exception_stops_it",
        "TestGoesOnWhenStopped": "test_watching_changes_nothing_and_an_exception_stops_it",
        "TestWritesToTheFlags": "test_what_is_handed_in_is_left_as_it_is",
        "TestStartOfAll": "test_exactly_the_count_is_kept",
        "TestRefusesNothing": "test_what_cannot_be_is_refused",
        "TestRemembers": "test_a_selector_may_be_asked_again",
        "TestOfNoTime": "test_without_time_the_count_is_exact",
        "TestChancesOfAnotherCount": "test_scores_rank_and_probabilities_are_those_of_the_count",
    },
    "solvers": {
        "TestBoundTooHigh": f"{OPTIMUM}[absolute-box]",
        "TestBoundOfASpentBudget": f"{EARLY}[absolute-after a few iterations]",
        "TestOutsideItsBounds": f"{OPTIMUM}[absolute-box]",
        "TestObjectiveOfAnotherPoint": f"{OPTIMUM}[squared-box]",
        "TestMassIsIgnored": f"{OPTIMUM}[huber-mass]",
        "TestSpreadIsIgnored": f"{OPTIMUM}[weighed-spread]",
        "TestArrivedTooEarly": f"{OPTIMUM}[mixed-box]",
        "TestNoBoundAtAll": f"{OPTIMUM}[absolute-box]",
        "TestRefusesAll": "test_it_says_what_it_is_and_takes_something",
        "TestColdStartsAlone": "test_any_start_will_do",
        "TestGlobalNoise": "test_the_seed_is_all_the_randomness",
        "TestRemembers": "test_other_tasks_in_between_change_nothing",
        "TestWatchedIsAnother": "test_watching_changes_nothing_and_an_exception_stops_it",
        "TestWritesToTheBounds": "test_what_is_handed_in_is_left_as_it_is",
        "TestAreasAreFelt": "test_areas_are_advice",
        "TestInfeasibleGoesOn": "test_a_mass_out_of_reach_is_infeasible",
    },
    "distances": {
        "TestShifted": "test_nothing_asked_for_leaves_the_weights_as_they_are",
        "TestFallsFarOut": "test_weights_rise_from_one_end_to_the_other",
        "TestBeyondItsEnds": "test_weights_rise_from_one_end_to_the_other",
        "TestSlopeOfAnother": "test_the_slope_is_that_of_the_weights",
        "TestSteepestIsFlat": "test_the_steepest_slope_is_none_less_than_at_either_end",
        "TestDoesNotReach": "test_totals_are_met",
    },
}

SOUND = {
    "losses": "test_the_same_problem_has_the_same_price",
    "selectors": "test_it_says_what_it_is",
    "solvers": "test_it_says_what_it_is_and_takes_something",
    "distances": "test_nothing_asked_for_leaves_the_weights_as_they_are",
}
"""What is sound of nearly all of them."""


@pytest.mark.parametrize("kind", SEEN)
def test_each_fault_is_seen_and_what_is_sound_passes(kind, tmp_path):
    expected, sound = SEEN[kind], SOUND[kind]
    nodes = [f"::{name}::{test}" for name, seen in expected.items() for test in {seen, sound}]
    failures = failures_of((Path(__file__).parent / "broken" / f"{kind}.py").read_text(), tmp_path, nodes)
    assert {(name, test.partition("[")[0]) for name, test in expected.items()} <= failures
    unsound = {name for name, test in failures if test == sound and expected[name] != test}
    assert unsound <= {"TestNoNumber", "TestGlobalNoise"}
