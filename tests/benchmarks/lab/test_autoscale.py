"""The simulated day: what is measured there, and that the policy keeps its promises on it."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.lab import autoscale
from benchmarks.lab.autoscale import REPLICA_ROWS_PER_S, day_of_load, kubernetes, ours, play


@pytest.fixture(scope="module")
def morning():
    """Four hours with a crowd in them."""
    load, begins = day_of_load(np.random.default_rng(3))
    begin = begins[0] - 1_800
    return load[begin : begin + 4 * 3_600], [each - begin for each in begins if begin <= each < begin + 4 * 3_600]


def follow(decide, morning):
    load, begins = morning
    return play("rule", decide, load, begins, np.random.default_rng(1))


def test_nobody_is_refused_once_a_crowd_is_twenty_seconds_old_and_little_is_wasted(morning):
    found = follow(ours(np.random.default_rng(2)), morning)
    assert found.late_refused == 0
    assert found.refused < 0.002 * found.rows
    assert found.replica_hours < 1.4 * found.ideal_hours
    assert found.changes < 60


def test_it_refuses_less_than_a_rule_that_looks_each_fifteen_seconds(morning):
    assert follow(ours(np.random.default_rng(2)), morning).refused < follow(kubernetes(), morning).refused


def test_too_few_replicas_refuse_what_they_cannot_do():
    load = np.full(600, 3 * REPLICA_ROWS_PER_S)
    found = play("two", lambda *_: 2, load, [], np.random.default_rng(1))
    assert found.refused == pytest.approx(600 * REPLICA_ROWS_PER_S, rel=0.01)
    assert found.replica_hours == pytest.approx(2 * 600 / 3600)


def test_a_day_is_the_same_for_the_same_seed():
    one, other = (day_of_load(np.random.default_rng((0, 1)))[0] for _ in range(2))
    assert np.array_equal(one, other)
    assert len(one) == autoscale.DAY_S
