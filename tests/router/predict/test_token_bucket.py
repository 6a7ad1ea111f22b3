"""Over any time, a bucket lets no more pass than its window holds and what ran in since. Times are arguments."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.predict.token_bucket import TokenBucket

STEPS = st.lists(st.tuples(st.floats(-5.0, 5.0), st.integers(1, 50)), max_size=60)


@given(st.integers(1, 500), st.sampled_from([1.0, 60.0]), st.floats(0.05, 1.0), STEPS)
def test_no_more_passes_than_the_rate_allows_and_one_request_of_debt(units, window_s, share, steps):
    bucket, now_s, latest_s, passed, largest = TokenBucket(units, window_s, share, 100.0), 100.0, 100.0, 0, 0
    for step_s, size in steps:  # time may also go back, as requests that came together are handled in any order
        now_s += step_s
        latest_s = max(latest_s, now_s)
        if bucket.take(now_s):
            bucket.charge(size - 1)
            passed, largest = passed + size, max(largest, size)
    allowed = max(1.0, units * share) + (latest_s - 100.0) * units * share / window_s
    assert passed <= allowed + largest + 1e-6


@given(st.integers(1, 500), st.floats(0.05, 1.0), STEPS)
def test_what_it_says_to_wait_is_enough_and_not_too_long(units, share, steps):
    bucket, now_s = TokenBucket(units, 1.0, share, 0.0), 0.0
    for _, size in steps:
        if bucket.take(now_s):
            bucket.charge(size - 1)
            continue
        wait_s = bucket.wait_s()
        assert wait_s > 0.0
        assert not bucket.take(now_s + wait_s * 0.99 - 1e-6)
        now_s += wait_s + 1e-6
        assert bucket.take(now_s)


def test_a_caller_at_the_rate_always_passes():
    bucket = TokenBucket(10, 1.0, 1.0, 0.0)
    assert all(bucket.take(number / 10) for number in range(1_000))


def test_what_was_saved_is_at_most_a_window():
    bucket = TokenBucket(10, 1.0, 1.0, 0.0)
    assert [bucket.take(1e9) for _ in range(11)] == [True] * 10 + [False]


def test_a_clock_that_jumps_back_gives_nothing_and_takes_nothing():
    bucket = TokenBucket(1, 1.0, 1.0, 1_000.0)
    assert bucket.take(1_000.0)
    assert not bucket.take(0.0)
    assert not bucket.take(1_000.5)
    assert bucket.take(1_001.0)


def test_another_share_changes_the_rate_and_not_the_debt():
    bucket = TokenBucket(100, 1.0, 1.0, 0.0)
    assert bucket.take(0.0)
    bucket.charge(149)  # a request of 150 from a bucket of 100
    bucket.share(0.5, 0.0)
    assert not bucket.take(0.0)
    assert bucket.wait_s() == pytest.approx(51 / 50)
    bucket.share(1.0, 0.0)
    assert bucket.wait_s() == pytest.approx(51 / 100)


def test_a_small_share_of_a_small_limit_still_lets_something_pass():
    bucket = TokenBucket(1, 1.0, 0.05, 0.0)
    assert bucket.take(0.0)
    assert not bucket.take(10.0)
    assert bucket.take(20.0)
