"""When a request is sent again: bounded pauses that do not shrink, and no word of a server that is not understood."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from divisions.notify.retry import FIRST_S, LONGEST_S, MOST_RETRY_AFTER_S, Reply, pause_s, retry_after_s

REPLIES = st.builds(Reply, st.integers(0, 599), st.none() | st.floats(0.0, 1e12))


@given(st.integers(1, 10_000), REPLIES)
def test_pauses_grow_and_are_bounded(tries, reply):
    assert FIRST_S <= pause_s(tries, reply) <= max(LONGEST_S, MOST_RETRY_AFTER_S)
    assert pause_s(tries, reply) <= pause_s(tries + 1, reply)
    if reply.retry_after_s is not None:
        assert pause_s(tries, reply) >= min(reply.retry_after_s, MOST_RETRY_AFTER_S)


@given(st.text() | st.from_regex(r"[0-9]{1,400}", fullmatch=True) | st.just("Fri, 31 Dec 9999 23:59:59 -2359"))
def test_any_header_gives_seconds_or_nothing(text):
    found = retry_after_s(text, 1e9)
    assert found is None or 0.0 <= found < float("inf")


def test_what_is_final():
    final = {status for status in range(600) if Reply(status).is_final}
    assert {301, 302, 307, 400, 401, 403, 404, 410} <= final
    assert not final & {0, 200, 204, 408, 425, 429, 500, 502, 503, 504}
    assert {status for status in range(600) if Reply(status).is_good} == set(range(200, 300))
