"""How many full batches a replica is given ahead."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.predict.sending_ahead import AHEAD_ROWS, AT_LEAST, SendingAhead

SECONDS = st.floats(0.0, 10.0)


def after(answered_s: float, compute_s: float, place: int = 1, batches: int = 400) -> SendingAhead:
    it = SendingAhead()
    for _ in range(batches):
        it.observe(answered_s, compute_s, place)
    return it


@pytest.mark.parametrize(
    ("answered_s", "compute_s", "place", "max_batch", "most"),
    [
        (0.100, 0.100, 1, 1, 2),  # a heavy model: one is computed, one travels
        (0.200, 0.100, 2, 1, 2),  # the second waited for the first, not for the gateway
        (0.110, 0.010, 1, 1, 11),  # ten are computed while a reply waits for its turn
        (0.110, 0.010, 1, 32, 8),  # no more than 256 rows
        (0.110, 0.010, 1, 256, 2),
        (0.110, 0.010, 1, 65_536, 2),
        (0.010, 0.0, 1, 1, 256),  # quicker than the clock
    ],
)
def test_a_replica_has_work_until_its_reply_is_seen(answered_s, compute_s, place, max_batch, most):
    assert after(answered_s, compute_s, place).most(max_batch) == most


def test_nothing_known_is_as_before():
    assert SendingAhead().most(1) == AT_LEAST


@given(st.lists(st.tuples(SECONDS, SECONDS, st.integers(1, 300)), max_size=30), st.integers(1, 65_536))
def test_it_stays_within_its_bounds_whatever_is_observed(observed, max_batch):
    it = SendingAhead()
    for answered_s, compute_s, place in observed:
        it.observe(answered_s, compute_s, place)
    assert AT_LEAST <= it.most(max_batch) <= max(AT_LEAST, AHEAD_ROWS // max_batch)


@given(st.floats(0.001, 1.0), st.floats(0.0, 1.0), st.integers(1, 64))
def test_a_deep_pipeline_does_not_ask_for_a_deeper_one(compute_s, underway_s, place):
    """Batches wait for those before them. Were that taken for time under way, each answer would deepen the pipeline."""
    short = after(compute_s + underway_s, compute_s).most(1)
    assert abs(after(place * compute_s + underway_s, compute_s, place).most(1) - short) <= 1  # rounding
