"""The times of a trigger: against a clock that is read minute by minute, and over changes of clocks."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from divisions.pipeline.trigger import Cron
from divisions.schedule.fire_times import newest_fires, next_fire_s

ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "America/Sao_Paulo"]
CRONS = ["0 2 * * *", "30 2 * * *", "0,30 2,3 * * *", "15 1 * * SUN", "0 0 29 2 *", "59 23 31 12 *", "45 2 1-7 * MON"]
FROM_S = datetime(2024, 1, 1, tzinfo=UTC).timestamp()
TO_S = datetime(2029, 1, 1, tzinfo=UTC).timestamp()
times = st.floats(FROM_S, TO_S)
crons = st.builds(Cron, st.sampled_from([*CRONS, "*/20 * * * *", "0 */6 * * *"]), st.sampled_from(ZONES))


def local(cron: Cron, after: str, count: int) -> list[str]:
    zone = ZoneInfo(cron.zone)
    at_s, found = datetime.fromisoformat(after).replace(tzinfo=zone).timestamp(), []
    for _ in range(count):
        at_s = next_fire_s(cron, at_s)
        found.append(datetime.fromtimestamp(at_s, zone).strftime("%d %H:%M %Z"))
    return found


def test_a_time_that_does_not_exist_runs_once_at_the_end_of_the_gap():
    # In Berlin, 2026-03-29 goes from 01:59 CET to 03:00 CEST.
    berlin = Cron("30 2 * * *", "Europe/Berlin")
    assert local(berlin, "2026-03-28T00:00", 3) == ["28 02:30 CET", "29 03:00 CEST", "30 02:30 CEST"]
    many = Cron("0,30 2,3 * * *", "Europe/Berlin")
    assert local(many, "2026-03-29T00:00", 3) == ["29 03:00 CEST", "29 03:30 CEST", "30 02:00 CEST"]


def test_a_time_that_exists_twice_runs_the_first_time():
    # In Berlin, 2026-10-25 goes from 02:59 CEST to 02:00 CET.
    berlin = Cron("30 2 * * *", "Europe/Berlin")
    assert local(berlin, "2026-10-24T00:00", 3) == ["24 02:30 CEST", "25 02:30 CEST", "26 02:30 CET"]


def test_between_the_two_occurrences_the_time_does_not_come_again():
    after = datetime(2026, 10, 25, 2, 10, tzinfo=ZoneInfo("Europe/Berlin"), fold=1).timestamp()
    fire_s = next_fire_s(Cron("30 2 * * *", "Europe/Berlin"), after)
    assert datetime.fromtimestamp(fire_s, UTC) == datetime(2026, 10, 26, 1, 30, tzinfo=UTC)


def test_every_hour_goes_by_elapsed_time():
    hourly = Cron("0 * * * *", "Europe/Berlin")
    assert local(hourly, "2026-10-25T01:30", 3) == ["25 02:00 CEST", "25 02:00 CET", "25 03:00 CET"]


@given(crons, times)
@example(Cron("30 2 * * *", "Europe/Berlin"), datetime(2026, 10, 25, 0, 45, tzinfo=UTC).timestamp())
def test_the_next_time_is_later_and_nothing_is_between(cron, after_s):
    fire_s = next_fire_s(cron, after_s)
    assert fire_s > after_s
    # Asked from any moment before it, the same time comes.
    assert next_fire_s(cron, (after_s + fire_s) / 2) == fire_s
    assert next_fire_s(cron, fire_s - 0.5) == fire_s


@settings(max_examples=25)
@given(st.sampled_from(["0 2 * * *", "30 2 * * *", "5 0 * * *", "59 23 * * *"]), st.sampled_from(ZONES), times)
def test_a_daily_time_runs_once_on_each_day_of_its_zone(expression, zone, after_s):
    cron, days = Cron(expression, zone), []
    at_s = after_s
    for _ in range(370):
        at_s = next_fire_s(cron, at_s)
        days.append(datetime.fromtimestamp(at_s, ZoneInfo(zone)).date())
    assert days == [days[0] + timedelta(days=number) for number in range(370)]


@given(crons, times, st.floats(0, 400 * 86_400), st.integers(1, 40))
def test_the_newest_times_are_the_last_of_all_times(cron, after_s, length_s, most):
    if cron.expression == "*/20 * * * *":
        length_s /= 40
    until_s, found, at_s = after_s + length_s, [], after_s
    while (at_s := next_fire_s(cron, at_s)) is not None and at_s <= until_s:
        found.append(at_s)
    assert newest_fires(cron, after_s, until_s, most) == tuple(found[-most:])


@pytest.mark.parametrize("cron", [Cron("* * * * *"), Cron("* * * * *", "Europe/Berlin")])
def test_a_trigger_of_every_minute_is_not_counted_through_for_years(cron, monkeypatch):
    from divisions.schedule import fire_times

    asked = []
    monkeypatch.setattr(fire_times, "next_fire_s", lambda *given: asked.append(given) or next_fire_s(*given))
    assert newest_fires(cron, FROM_S, TO_S, 31)[-1] == TO_S
    assert len(asked) < 200


def test_a_clock_before_the_last_time_has_none():
    assert newest_fires(Cron("* * * * *"), TO_S, FROM_S, 31) == ()
