"""The gateways' parts of a limit: together the whole, each at least a little."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from divisions.reports import LimitShares
from router.control.limit_shares import FLOOR, SILENT_S, LimitSharing, share

GATEWAYS = ["a", "b", "c"]


@given(st.dictionaries(st.sampled_from(GATEWAYS), st.floats(0.0, 1e9)))
def test_the_parts_of_a_limit_are_the_whole(asked):
    parts = [share(asked, gateway, len(GATEWAYS)) for gateway in GATEWAYS]
    assert sum(parts) == pytest.approx(1.0)
    assert min(parts) >= FLOOR / len(GATEWAYS) - 1e-12


def test_a_gateway_alone_has_all_of_every_limit():
    assert LimitSharing().report("a", (("ci", 10),), 0.0) == LimitShares()


def test_most_of_a_limit_is_where_it_is_asked_for():
    sharing = LimitSharing()
    sharing.report("a", (), 0.0)
    sharing.report("b", (("ci", 90),), 0.0)
    of_a, of_b = (sharing.report(gateway, (), 0.0) for gateway in "ab")
    assert (of_a.gateways, of_b.gateways) == (2, 2)
    assert (of_a.by_name["ci"], of_b.by_name["ci"]) == pytest.approx((FLOOR / 2, 1 - FLOOR / 2))


def test_what_was_asked_fades_until_it_is_forgotten():
    sharing = LimitSharing()
    sharing.report("b", (("ci", 90),), 0.0)
    sharing.report("a", (), 0.0)
    for second in range(1, 5):
        sharing.report("b", (), float(second))
        found = sharing.report("a", (("ci", 10),), float(second))
    assert found.by_name["ci"] > 0.6
    for second in range(5, 30):
        sharing.report("b", (), float(second))
        found = sharing.report("a", (), float(second))
    assert found == LimitShares(2, {})


def test_a_gateway_that_has_ended_keeps_no_part():
    sharing = LimitSharing()
    sharing.report("b", (("ci", 90),), 0.0)
    sharing.report("a", (("ci", 10),), 0.0)
    assert sharing.report("a", (("ci", 10),), SILENT_S) == LimitShares()


def test_a_clock_that_goes_back_breaks_nothing():
    sharing = LimitSharing()
    sharing.report("b", (("ci", 90),), 100.0)
    found = sharing.report("a", (("ci", 10),), 50.0)
    assert 0.0 < found.by_name["ci"] < 1.0
