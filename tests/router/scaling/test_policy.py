"""The number of replicas: up fast, down slowly, never below the need, and never down without knowing."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from divisions.scaling import Scaling
from router.scaling.load import Demand
from router.scaling.policy import DOWN_MARGIN, Decision, Sizer, needed

WINDOW_S = 20
RATE = 100.0


def scaling(low=1, high=50, share=0.5, after_s=WINDOW_S):
    return Scaling(low, high, share, float(after_s))


def play(sizer, loads, present, begin_s=0):
    """The number after each second of loads; None is a second without reports."""
    counts = []
    for second, rows in enumerate(loads, begin_s):
        demand = None if rows is None else Demand(float(rows), RATE)
        sizer.observe(demand, float(second))
        present = sizer.decide(present, float(second)).replicas
        counts.append(present)
    return counts


def test_it_goes_straight_to_what_the_load_needs_at_most_doubling():
    assert play(Sizer(scaling()), [300] * 12, 1) == [3, 3, 3, 6, 6, 6, 6, 6, 6, 6, 6, 6]
    assert play(Sizer(scaling()), [200] * 3, 4) == [4, 4, 4]


def test_it_says_what_it_has_reckoned():
    sizer = Sizer(scaling())
    sizer.observe(Demand(90.0, RATE), 0.0)
    assert sizer.decide(1, 0.0).reason == "90 rows/s at 50% of 100 rows/s per replica need 2"


def test_it_goes_down_to_the_most_of_the_window_and_to_the_minimum_in_the_end():
    counts = play(Sizer(scaling(low=2)), [400] * 10 + [100] * (WINDOW_S + 10) + [0] * (WINDOW_S + 10), 8)
    assert counts[9 + WINDOW_S - 2] == 8
    assert counts[9 + WINDOW_S + 10] == 3  # 100 rows/s at 50 % of 100 need 2, and 3 with the margin
    assert counts[-1] == 2


def test_a_peak_of_three_seconds_is_remembered_for_the_window():
    counts = play(Sizer(scaling()), [40] * 30 + [400] * 3 + [40] * (WINDOW_S - 3), 1)
    assert min(counts[36:]) == counts[36] > 1


def test_pressure_adds_half_where_the_measured_rate_is_wrong_but_not_at_once_again():
    sizer, present, changes = Sizer(scaling()), 4, []
    for second in range(15):
        sizer.observe(Demand(50.0, RATE, is_pressed=True), float(second))
        after = sizer.decide(present, float(second)).replicas
        if after != present:
            changes.append((second, after))
        present = after
    assert changes == [(1, 6), (11, 9)]


def test_replicas_that_were_just_added_may_help_before_pressure_adds_more():
    sizer, present, changes = Sizer(scaling()), 2, []
    for second in range(12):
        sizer.observe(Demand(200.0, RATE, is_pressed=second > 0), float(second))
        after = sizer.decide(present, float(second)).replicas
        if after != present:
            changes.append((second, after))
        present = after
    assert changes == [(0, 4), (10, 6)]


@pytest.mark.parametrize("between", [Demand(50.0, RATE), None])
def test_one_second_of_pressure_is_chance(between):
    sizer = Sizer(scaling())
    for second, each in enumerate([Demand(50.0, RATE, is_pressed=True), between] * 2):
        sizer.observe(each, float(second))
        assert sizer.decide(4, float(second)).replicas == 4


def test_what_a_replica_can_do_is_the_median_of_twenty_seconds():
    sizer = Sizer(scaling())
    for second in range(40):
        sizer.observe(Demand(1.0, float(second)), float(second))
    assert sizer.replica_rows_per_s == 30.0


def test_where_nothing_changes_no_reason_is_given():
    sizer = Sizer(scaling())
    sizer.observe(Demand(200.0, RATE), 0.0)
    assert sizer.decide(4, 0.0) == Decision(4)


def test_it_waits_for_nine_tenths_of_the_window():
    for num_unknown, counts in ((2, {5, 1}), (3, {5})):
        loads = [40] * 10 + [None] * num_unknown + [40] * (11 - num_unknown)
        assert set(play(Sizer(scaling()), loads, 5)) == counts


@pytest.mark.parametrize(("after_s", "pause_s"), [(20, 5), (100, 10)])
def test_between_two_removals_is_a_quarter_of_the_window_at_most_ten_seconds(after_s, pause_s):
    falling = [40 * need for need in range(60, 20, -1)]
    counts = play(Sizer(scaling(high=100, after_s=after_s)), [2400] * after_s + falling + [40] * after_s, 80)
    removed = [second for second, (one, other) in enumerate(zip([80, *counts], counts, strict=False)) if other < one]
    pauses = [later - earlier for earlier, later in itertools.pairwise(removed)]
    assert pauses[1:4] == [pause_s] * 3


def test_two_reports_of_one_second_are_one_second_that_is_known():
    sizer = Sizer(scaling())
    for half in range(80):
        if half % 4 < 2:
            sizer.observe(Demand(40.0, RATE), half / 2)
        assert sizer.decide(5, half / 2).replicas == 5


def test_a_load_that_ends_leaves_one_replica():
    sizer = Sizer(scaling())
    assert play(sizer, [400] * 5 + [0] * (WINDOW_S + 5), 8)[-1] == 1
    assert sizer.rows_per_s == 0.0


def test_another_load_needs_as_many_as_it_would_take_within_the_limits():
    sizer = Sizer(scaling(low=2, high=5))
    assert sizer.need_for(1_000.0) == 2
    sizer.observe(Demand(1.0, RATE), 0.0)
    assert [sizer.need_for(rows) for rows in (0.0, 0.5, 150.0, 151.0, 1_000.0)] == [2, 2, 3, 4, 5]
    sizer = Sizer(scaling())
    sizer.observe(Demand(1.0, RATE), 0.0)
    assert [sizer.need_for(rows) for rows in (0.0, 50.0, 51.0)] == [1, 1, 2]


def test_without_a_known_rate_a_load_changes_nothing():
    sizer = Sizer(scaling())
    for second in range(3 * WINDOW_S):
        sizer.observe(Demand(500.0, None), float(second))
        assert sizer.decide(3, float(second)).replicas == 3


def test_a_rate_that_falls_for_a_few_seconds_adds_nothing():
    sizer = Sizer(scaling())
    play(sizer, [90] * 20, 2)
    for second in range(20, 25):
        sizer.observe(Demand(90.0, RATE / 5), float(second))
        assert sizer.decide(2, float(second)).replicas == 2


def test_outside_of_the_limits_it_is_put_inside():
    sizer = Sizer(scaling(low=2, high=5))
    assert sizer.decide(9, 0.0).replicas == 5
    assert sizer.decide(1, 0.0).replicas == 2
    assert play(Sizer(scaling(high=5)), [10_000] * 10, 4)[-1] == 5


@pytest.mark.parametrize("rows", [math.nan, math.inf])
def test_a_senseless_demand_is_unknown(rows):
    sizer = Sizer(scaling())
    for second in range(2 * WINDOW_S):
        sizer.observe(Demand(rows, RATE), float(second))
        assert sizer.decide(7, float(second)).replicas == 7


rows = st.integers(0, 3_000)
known = st.lists(rows, min_size=1, max_size=120)
maybe = st.lists(st.one_of(st.none(), rows), min_size=1, max_size=120)


@given(maybe, st.integers(1, 50))
def test_the_limits_hold_and_growth_at_most_doubles(loads, present):
    before = present
    for count in play(Sizer(scaling(low=3, high=40)), loads, present):
        assert 3 <= count <= 40
        assert count <= max(2 * before, before + 2, 3)
        before = count


@given(known, st.integers(1, 50))
def test_no_removal_goes_below_what_any_second_of_the_window_needed(loads, present):
    before = present
    for second, count in enumerate(play(Sizer(scaling()), loads, present)):
        if count < min(before, 50):
            window = loads[max(0, second - WINDOW_S + 1 + 2) : second + 1]
            means = [sum(loads[max(0, at - 2) : at + 1]) / 3 for at in range(max(2, second - WINDOW_S + 1), second + 1)]
            assert window
            assert all(count >= min(50, needed(mean, RATE, 0.5)) for mean in means if mean > 0)
        before = count


@given(maybe)
def test_nothing_is_removed_while_the_present_load_is_unknown_or_a_tenth_of_the_window_is(loads):
    before = 50
    for second, count in enumerate(play(Sizer(scaling()), loads, before)):
        if count < before:
            window = loads[max(0, second - WINDOW_S + 1) : second + 1]
            assert len(window) == WINDOW_S
            assert sum(each is not None for each in window) >= 0.9 * WINDOW_S - 2  # a mean covers its 3 s
            assert any(each is not None for each in loads[second - 2 : second + 1])
        before = count


@given(st.integers(1, 2_000), st.lists(st.floats(0.95, 1.05), min_size=80, max_size=80))
def test_a_load_that_wavers_by_a_twentieth_changes_nothing_after_the_first_window(mean, waver):
    steady = [mean * each for each in waver]
    counts = play(Sizer(scaling(high=1_000)), steady, 1)
    settled = counts[40:]
    assert len(set(settled)) <= 2
    assert all(after >= before for before, after in zip(settled[WINDOW_S:], settled[WINDOW_S + 1 :], strict=False))


@settings(max_examples=40)
@given(st.integers(1, 2_000), st.integers(1, 2_000), st.integers(4, 15))
def test_a_load_that_jumps_to_and_fro_within_the_window_does_not_flap(low, high, period):
    loads = [low if second // period % 2 else high for second in range(8 * WINDOW_S)]
    counts = play(Sizer(scaling(high=1_000)), loads, 1)
    assert len(set(counts[3 * WINDOW_S :])) == 1


@given(st.integers(1, 3_000))
def test_a_steady_load_is_served_within_the_target_and_not_by_many_more(load):
    (count,) = set(play(Sizer(scaling(high=1_000)), [load] * 100, 1)[-5:])
    assert load <= count * RATE * 0.5 + 1e-6
    settled = play(Sizer(scaling(high=1_000)), [load] * 100, 900)[-1]
    assert settled <= math.ceil(load / (RATE * 0.5 * DOWN_MARGIN))


def test_a_clock_that_stands_or_goes_back_removes_nothing():
    sizer = Sizer(scaling())
    for now_s in [5.0] * 100 + [3.0] * 100:
        sizer.observe(Demand(0.0, RATE), now_s)
        assert sizer.decide(5, now_s).replicas == 5


def test_up_has_a_pause():
    sizer = Sizer(scaling())
    sizer.observe(Demand(500.0, RATE), 0.0)
    assert sizer.decide(1, 0.0).replicas == 3
    assert sizer.decide(3, 2.9).replicas == 3
    assert sizer.decide(3, 3.0).replicas == 6
