"""The budget of retries: a burst at first, then one for every ten requests."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from router.predict.retry_budget import RETRY_BURST, RETRY_SHARE, RetryBudget


def test_a_burst_is_allowed_and_no_more():
    budget = RetryBudget()
    assert sum(budget.take() for _ in range(3_000)) == RETRY_BURST == 2_000
    for _ in range(9):
        budget.earn()
    assert not budget.take()
    for _ in range(2):
        budget.earn()
    assert budget.take()
    assert not budget.take()


@given(st.lists(st.booleans(), max_size=400), st.floats(0.0, 5.0))
def test_retries_are_a_tenth_of_requests_at_most_and_saving_ends_at_a_burst(events, tokens):
    budget = RetryBudget()
    budget.tokens = tokens
    taken = requests = 0
    for is_request in events:
        if is_request:
            budget.earn()
            requests += 1
        else:
            taken += budget.take()
    assert taken <= tokens + requests * RETRY_SHARE + 1e-6
    budget.tokens = RETRY_BURST
    budget.earn()
    assert budget.tokens == RETRY_BURST
