"""Contributions of features: they add up, and are right where the right answer is known."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.explain.contributions import LOG_ODDS, SCORE, attribute, log_odds, num_rows

Coalition = frozenset[int]
EFFECTS = st.lists(st.floats(-1.5, 1.5).map(lambda x: round(x, 3)), min_size=1, max_size=6)


def answers(num_features: int, value: Callable[[Coalition], float]) -> list[float]:
    """Probabilities of a model whose log-odds are ``value`` of the features that have the customer's values."""
    everything = frozenset(range(num_features))
    coalitions = [everything]
    if num_features:
        coalitions += [
            frozenset(),
            *(frozenset({each}) for each in everything),
            *(everything - {e} for e in everything),
        ]
    return [1 / (1 + math.exp(-value(each))) for each in coalitions]


def additive(effects: list[float], base: float = 0.0) -> Callable[[Coalition], float]:
    return lambda coalition: base + sum(effects[each] for each in coalition)


def shapley(num_features: int, value: Callable[[Coalition], float]) -> list[float]:
    found = [0.0] * num_features
    orders = list(itertools.permutations(range(num_features)))
    for order in orders:
        before: Coalition = frozenset()
        for each in order:
            found[each] += (value(before | {each}) - value(before)) / len(orders)
            before |= {each}
    return found


def test_the_rows_are_as_many_as_are_asked_for():
    assert [num_rows(number) for number in range(4)] == [1, 4, 6, 8]
    assert [len(answers(number, additive([1.0] * number))) for number in range(4)] == [1, 4, 6, 8]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.data())
def test_whatever_a_model_answers_the_parts_add_up_to_the_score(first, data):
    number = len(first)
    scores = data.draw(st.lists(st.floats(0, 1), min_size=num_rows(number), max_size=num_rows(number)))
    found = attribute(scores)
    assert found.reference + math.fsum(found.contributions) + found.joint == pytest.approx(found.score, abs=1e-9)
    assert found.score == log_odds(scores[0])
    assert found.reference == log_odds(scores[1])


@given(EFFECTS, st.floats(-2, 2))
def test_of_a_linear_model_a_contribution_is_the_coefficient_times_the_difference(effects, base):
    found = attribute(answers(len(effects), additive(effects, base)))
    assert found.scale == LOG_ODDS
    assert found.contributions == pytest.approx(effects, abs=1e-4)
    assert found.joint == pytest.approx(0.0, abs=1e-4)
    assert found.reference == pytest.approx(base, abs=1e-6)


@given(EFFECTS.filter(lambda effects: len(effects) <= 4), st.data())
def test_with_interactions_of_pairs_contributions_are_shapley_values(effects, data):
    number = len(effects)
    pairs = {
        pair: data.draw(st.floats(-1, 1).map(lambda x: round(x, 3)))
        for pair in itertools.combinations(range(number), 2)
    }

    def value(coalition: Coalition) -> float:
        return 0.1 * (additive(effects)(coalition) + sum(w for pair, w in pairs.items() if coalition.issuperset(pair)))

    found = attribute(answers(number, value))
    assert found.contributions == pytest.approx(shapley(number, value), abs=1e-6)
    assert found.joint == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("size", [2, 3, 4, 5])
def test_one_interaction_of_any_size_beside_single_effects_is_shared_alike(size):
    def value(coalition: Coalition) -> float:
        return additive([0.5, -0.5, 0.25, 0.0, 0.1, 0.7])(coalition) + 1.5 * coalition.issuperset(range(size))

    found = attribute(answers(6, value))
    assert found.contributions == pytest.approx(shapley(6, value), abs=1e-6)
    assert found.joint == pytest.approx(0.0, abs=1e-6)


@given(st.lists(st.floats(-1, 1), min_size=16, max_size=16))
def test_a_feature_that_changes_nothing_contributes_nothing(values):
    def value(coalition: Coalition) -> float:
        return values[sum(2**each for each in coalition if each < 4)]  # any model of 4 features, blind to the fifth

    found = attribute(answers(5, value))
    assert found.contributions[4] == 0.0


@given(st.lists(st.floats(-1, 1), min_size=16, max_size=16))
def test_features_that_act_alike_contribute_alike(values):
    def value(coalition: Coalition) -> float:
        alike = len(coalition & {0, 1})  # only how many of the two there are matters
        return values[alike + 3 * (2 in coalition) + 6 * (3 in coalition)]

    found = attribute(answers(4, value))
    assert found.contributions[0] == pytest.approx(found.contributions[1], abs=1e-9)


@given(st.lists(st.floats(-1, 1), min_size=16, max_size=16))
def test_a_contribution_lies_between_what_a_feature_does_alone_and_last(values):
    def value(coalition: Coalition) -> float:
        return values[sum(2**each for each in coalition)]

    found = attribute(answers(4, value))
    everything = frozenset(range(4))
    for each, contribution in enumerate(found.contributions):
        alone = value(frozenset({each})) - value(frozenset())
        last = value(everything) - value(everything - {each})
        assert min(alone, last) - 1e-6 <= contribution <= max(alone, last) + 1e-6


def test_what_no_feature_shows_alone_or_last_is_told_as_joint():
    found = attribute(answers(3, lambda coalition: float(len(coalition) >= 2)))
    assert found.contributions == pytest.approx([0.0, 0.0, 0.0], abs=1e-9)
    assert found.joint == pytest.approx(1.0)


def test_a_customer_like_the_reference_has_no_contributions():
    found = attribute([0.25])
    assert (found.contributions, found.joint) == ((), 0.0)
    assert found.score == found.reference == pytest.approx(math.log(1 / 3))


def test_scores_that_are_no_probabilities_are_explained_as_they_are():
    found = attribute([7.0, 2.0, 4.0, 5.0, 4.0, 5.0])
    assert (found.scale, found.reference, found.score) == (SCORE, 2.0, 7.0)
    assert found.contributions == pytest.approx([2.5, 2.5])


def test_probabilities_of_0_and_1_are_bounded():
    found = attribute([1.0, 0.0, 1.0, 0.0])
    assert found.score == pytest.approx(-found.reference)
    assert found.contributions == pytest.approx([found.score - found.reference])
