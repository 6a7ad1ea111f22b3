"""The latest row of each customer, within a span of time and a bound."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from router.drift.customer_window import CustomerWindow, WindowState

SIZES = (3, 2)


def digests(*values):
    return np.array(values, dtype=np.uint64)


def rows(*values):
    return np.array(values, dtype=np.uint16).reshape(-1, 2)


def counted(window):
    return [column.tolist() for column in window.counts()]


def test_a_customer_counts_once_with_the_latest_row():
    window = CustomerWindow(SIZES, span=12)
    window.add(digests(7, 7, 8), rows((0, 0), (2, 1), (1, 1)), slot=1)
    assert counted(window) == [[0, 1, 1], [0, 2]]
    window.add(digests(8), rows((0, 0)), slot=2)
    assert counted(window) == [[1, 0, 1], [1, 1]]


def test_a_customer_leaves_a_span_after_the_last_row():
    window = CustomerWindow(SIZES, span=3)
    window.add(digests(7, 8), rows((0, 0), (1, 1)), slot=1)
    window.add(digests(8), rows((1, 1)), slot=2)
    window.expire(3)
    assert len(window) == 2
    window.expire(4)
    assert counted(window) == [[0, 1, 0], [0, 1]]
    window.expire(5)
    assert len(window) == 0


@given(st.lists(st.integers(0, 2**64 - 1), min_size=200, max_size=400, unique=True), st.integers(1, 3))
@settings(max_examples=10, deadline=None)
def test_memory_is_bounded_and_the_part_is_the_same_for_all_gateways(customers, gateways):
    window = CustomerWindow(SIZES, span=12, limit=64)
    for start in range(gateways):
        mine = digests(*customers[start::gateways])
        window.add(mine, np.zeros((len(mine), 2), dtype=np.uint16), slot=1)
    assert len(window) <= 64
    state = window.state()
    kept = set(np.frombuffer(state.digests, dtype=np.uint64).tolist())
    mask = (1 << state.level) - 1
    assert kept == {digest for digest in customers if not digest & mask}


def test_all_customers_count_again_when_they_have_become_few():
    window = CustomerWindow(SIZES, span=1, limit=8)
    window.add(digests(*range(64)), np.zeros((64, 2), dtype=np.uint16), slot=1)
    assert window.state().level > 0
    for slot in range(2, 12):
        window.expire(slot)
    assert window.state().level == 0
    window.add(digests(1, 3), rows((0, 0), (1, 1)), slot=12)
    assert len(window) == 2


def test_customers_whose_hashes_cannot_be_told_apart_cost_no_memory():
    window = CustomerWindow(SIZES, span=1, limit=4)
    window.add(digests(*(number << 60 for number in range(16))), np.zeros((16, 2), dtype=np.uint16), slot=1)
    assert len(window) <= 4


def test_a_window_goes_on_from_what_was_saved():
    window = CustomerWindow(SIZES, span=3, limit=8)
    window.add(digests(*range(20)), np.tile(rows((2, 1)), (20, 1)), slot=1)
    other = CustomerWindow(SIZES, span=3, limit=8)
    other.restore(window.state())
    assert (counted(other), other.state()) == (counted(window), window.state())
    other.add(digests(0), rows((0, 0)), slot=2)
    other.expire(4)
    assert counted(other) == [[1, 0, 0], [1, 0]]


def test_what_was_saved_for_other_columns_or_is_torn_is_not_used():
    saved = CustomerWindow((3, 5), span=3)
    saved.add(digests(1), rows((2, 4)), slot=1)
    state = saved.state()
    torn = WindowState(0, state.digests, state.seen, state.rows[:-2])
    for sizes, given_state in (((3, 2), state), ((3,), state), ((3, 5), torn)):
        window = CustomerWindow(sizes, span=3)
        window.restore(given_state)
        assert len(window) == 0
