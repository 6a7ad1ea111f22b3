"""When keys are read again. Defence: nobody can make a gateway flood an issuer, and old keys end."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from router.gateway.key_freshness import KEEP_S, PAUSE_S, STALE_S, KeyFreshness

steps = st.lists(st.tuples(st.integers(0, 700), st.booleans(), st.booleans()), max_size=60)


@given(steps)
def test_between_two_attempts_is_a_pause_and_a_question_is_answered_after_it(taken):
    fresh, now_s, tried, read_s, is_asked = KeyFreshness(), 5_000.0, [], None, False
    for passed_s, asks, succeeds in taken:
        now_s += passed_s
        if asks:
            fresh.ask()
            is_asked = True
        wait_s = fresh.wait_s(now_s)
        is_early = bool(tried) and now_s - tried[-1] < PAUSE_S
        has_failed = bool(tried) and read_s != tried[-1]
        is_wanted = not tried or is_asked or has_failed or now_s - tried[-1] >= KEEP_S
        assert (wait_s == 0.0) is (is_wanted and not is_early)
        assert wait_s <= KEEP_S
        if wait_s == 0.0:
            fresh.tried(now_s)
            tried.append(now_s)
            is_asked = False
            if succeeds:
                fresh.read()
                read_s = now_s
        assert fresh.is_usable(now_s) is (read_s is not None and now_s < read_s + KEEP_S + STALE_S)
    assert all(later - earlier >= PAUSE_S for earlier, later in itertools.pairwise(tried))


def test_keys_are_as_old_as_the_attempt_that_brought_them():
    fresh = KeyFreshness()
    assert not fresh.is_usable(0.0)
    fresh.tried(100.0)
    assert not fresh.is_usable(100.0)
    fresh.read()
    assert fresh.is_usable(100.0 + KEEP_S + STALE_S - 1)
    assert not fresh.is_usable(100.0 + KEEP_S + STALE_S)
