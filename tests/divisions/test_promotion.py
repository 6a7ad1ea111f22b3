"""Freeze windows over clocks that jump, and policies that make no sense."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from divisions.promotion import FreezeWindow, PromotionPolicy

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONDAY = datetime(2026, 11, 2, tzinfo=UTC)
minutes = st.integers(0, 7 * 24 * 60 - 1)


def named(minute):
    return f"{DAYS[minute // 1_440]} {minute % 1_440 // 60:02}:{minute % 60:02}"


@given(start=minutes, end=minutes, now=minutes, week=st.integers(-2_000, 2_000))
def test_a_week_is_cut_in_two_by_every_window(start, end, now, week):
    now_s = (MONDAY + timedelta(weeks=week, minutes=now)).timestamp()
    window, rest = FreezeWindow(named(start), named(end)), FreezeWindow(named(end), named(start))
    if start == end:
        assert window.problem()
        assert window.has(now_s), "what makes no sense is closed"
        return
    assert window.problem() == ""
    assert window.has(now_s) != rest.has(now_s)
    length = (end - start) % (7 * 1_440)
    assert window.has(now_s) == ((now - start) % (7 * 1_440) < length)


@pytest.mark.parametrize(
    ("moment", "is_in"),
    [
        ("2026-12-19 22:59", False),
        ("2026-12-19 23:00", True),  # midnight in Berlin
        ("2027-01-04 05:59", True),
        ("2027-01-04 06:00", False),
    ],
)
def test_a_window_of_dates_is_of_the_clock_on_the_wall(moment, is_in):
    window = FreezeWindow("2026-12-20 00:00", "2027-01-04 07:00", "Europe/Berlin")
    assert window.has(datetime.strptime(moment, "%Y-%m-%d %H:%M").replace(tzinfo=UTC).timestamp()) == is_in


@given(now_s=st.floats(allow_nan=True, allow_infinity=True))
def test_any_clock_is_answered(now_s):
    assert FreezeWindow("Mon 00:00", "Tue 00:00", "Asia/Kathmandu").has(now_s) in {True, False}


@pytest.mark.parametrize(
    ("window", "why"),
    [
        (FreezeWindow("Fri", "Mon 07:00"), "'Fri' is no time"),
        (FreezeWindow("Fri 24:00", "Mon 07:00"), "'Fri 24:00' is no time"),
        (FreezeWindow("Fri 16:00", "2026-12-20 00:00"), "write both alike"),
        (FreezeWindow("2026-02-30 00:00", "2026-12-20 00:00"), "is no time"),
        (FreezeWindow("2026-12-20 00:00", "2026-12-19 00:00"), "ends before it begins"),
        (FreezeWindow("Fri 16:00", "Fri 16:00"), "it is empty"),
        (FreezeWindow("Fri 16:00", "Mon 07:00", "Mars/Base"), "there is no time zone 'Mars/Base'"),
        (FreezeWindow("Fri 16:00", "Mon 07:00", "../../etc/passwd"), "there is no time zone"),
    ],
)
def test_a_senseless_window_says_why(window, why):
    assert why in window.problem()
    assert why in PromotionPolicy(freeze=(window,)).problem()
    assert window.has(1_800_000_000)
