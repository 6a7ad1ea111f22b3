"""Wrong tokens by address. Defence: guessing is answered slowly, in bounded memory."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from router.http.wrong_tokens import BURST, MAX_ADDRESSES, PER_S, WrongTokens


def test_a_burst_then_one_a_second():
    wrong = WrongTokens()
    assert [wrong.wait_s("10.0.0.7", 100.0) for _ in range(BURST)] == [0.0] * BURST
    assert wrong.wait_s("10.0.0.7", 100.0) == 1.0 / PER_S
    assert wrong.wait_s("10.0.0.7", 100.25) == 0.75
    assert wrong.wait_s("10.0.0.7", 101.0) == 0.0
    assert wrong.wait_s("10.0.0.7", 101.0) > 0.0


def test_addresses_do_not_disturb_one_another_but_those_of_one_network_do():
    wrong = WrongTokens()
    for number in range(BURST):
        assert wrong.wait_s(f"2001:db8::{number:x}", 0.0) == 0.0
    assert wrong.wait_s("2001:db8::ffff", 0.0) > 0.0
    assert wrong.wait_s("2001:db8:0:1::1", 0.0) == 0.0
    assert wrong.wait_s("10.0.0.8", 0.0) == 0.0


def test_memory_is_bounded_and_the_silent_are_forgotten_first():
    wrong = WrongTokens()
    for _ in range(BURST + 1):
        wrong.wait_s("attacker", 0.0)
    for number in range(3 * MAX_ADDRESSES):
        wrong.wait_s(f"{number}", 0.0)
        assert wrong.wait_s("attacker", 0.0) > 0.0, "who goes on trying is never forgotten"
    assert len(wrong) == MAX_ADDRESSES


@given(st.lists(st.floats(0.0, 1e6)))
def test_whatever_the_clock_does_no_more_than_the_rate_is_answered(times):
    wrong = WrongTokens()
    answered = sum(wrong.wait_s("a", now_s) == 0.0 for now_s in times)
    risen_s = sum(max(0.0, after - before) for before, after in itertools.pairwise(times))
    assert answered <= BURST + risen_s * PER_S
