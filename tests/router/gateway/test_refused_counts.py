"""Refusals for the audit log: a flood is a few lines, a principal keeps its own, and nothing is lost or told twice."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from divisions.access import tokens
from divisions.access.limits import NO_LIMITS
from divisions.access.roles import Role
from divisions.reports import Refused
from router.gateway.refused_counts import INTERVAL_S, MAX_KNOWN, MAX_UNKNOWN, OTHERS, UNKNOWN, RefusedCounts
from tests.router.gateway.test_keys import bearer, granted, publish, until
from tests.router.gateway_world import post, world


def test_a_hundred_thousand_refusals_of_one_kind_are_one_line():
    counts = RefusedCounts()
    for number in range(100_000):
        counts.add(number / 2_000, "", "", "10.0.0.7", "read", "", 401)
    assert counts.due(INTERVAL_S - 0.1) == ()
    assert counts.due(INTERVAL_S) == (Refused(UNKNOWN, "", "10.0.0.7", "read", "", 401, 100_000),)


def test_strangers_from_everywhere_do_not_hide_what_a_principal_tried():
    counts = RefusedCounts()
    for number in range(10_000):
        counts.add(0.0, "", "", f"10.{number % 250}.{number // 250}.1", "read", "", 401)
    counts.add(1.0, "ann", "viewer", "10.0.0.1", "promote", "churn", 403)
    found = counts.due(INTERVAL_S)
    assert Refused("ann", "viewer", "10.0.0.1", "promote", "churn", 403, 1) in found
    assert sum(each.who == UNKNOWN for each in found) == MAX_UNKNOWN
    (others,) = (each for each in found if each.who == OTHERS)
    assert (others.count, others.status) == (10_000 - MAX_UNKNOWN, 401)


def test_addresses_of_one_network_are_one_line():
    counts = RefusedCounts()
    for number in range(100):
        counts.add(0.0, "", "", f"2001:db8::{number:x}", "read", "", 401)
    assert [each.address for each in counts.due(INTERVAL_S)] == ["2001:db8::/64"]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["", "ann", "bo"]), st.integers(0, 30), st.sampled_from([401, 403, 429]), st.booleans()
        )
    )
)
def test_nothing_is_lost_or_told_twice_whenever_it_is_taken(steps):
    counts, told, now_s = RefusedCounts(), 0, 0.0
    for who, address, status, is_taken in steps:
        counts.add(now_s, who, "", f"10.0.0.{address}", "read", "", status)
        if is_taken:
            now_s += INTERVAL_S
            found = counts.due(now_s)
            counts.add(now_s, "late", "", "", "read", "", 403)
            counts.sent(found, now_s)
            told += sum(each.count for each in found)
    left = sum(each.count for each in counts.due(now_s + 2 * INTERVAL_S))
    assert told + left == len(steps) + sum(is_taken for *_, is_taken in steps)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 500)), max_size=150))
def test_lines_are_bounded(callers):
    counts = RefusedCounts()
    for is_known, number in callers:
        counts.add(0.0, f"p{number}" if is_known else "", "", f"10.0.{number}.1", "read", "", 403)
    assert len(counts.due(INTERVAL_S)) <= MAX_KNOWN + MAX_UNKNOWN + 1


def test_a_gateway_reports_its_refusals_once_the_minute_is_over(run, monkeypatch):
    monkeypatch.setattr("router.gateway.refused_counts.INTERVAL_S", 0.0)

    async def scenario():
        known, (token,) = granted(("ann", Role.VIEWER, (), NO_LIMITS))
        async with world() as it:
            await publish(it, known)
            for header in (bearer(token), bearer("wrong"), "x-none: 1"):
                assert (await it.raw(post({}, header, path="/api/v2/rollouts/churn/promote")))[0].status in {401, 403}
            asked = {"endpoint": "fraud"}
            await publish(it, tokens.revoke(known, "ann"))
            assert (await it.raw(post(asked, bearer(token), path="/api/v2/rollouts")))[0].status == 401

            def told() -> dict:
                found: dict = {}
                for report in it.link.reports:
                    for each in report.refused:
                        kind = (each.who, each.action, each.subject, each.status)
                        found[kind] = found.get(kind, 0) + each.count
                return found

            await until(lambda: sum(told().values()) == 4)
            assert told() == {
                ("ann", "promote", "churn", 403): 1,
                (UNKNOWN, "promote", "churn", 401): 2,
                (UNKNOWN, "start-rollout", "", 401): 1,
            }

    run(scenario())
