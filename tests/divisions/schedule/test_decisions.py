"""What happens to each time: on time, late, while another run goes on, over jumps of the clock, after crashes."""

from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from divisions.pipeline.trigger import CatchUp, Cron
from divisions.schedule import decisions
from divisions.schedule.decisions import GRACE_S, MOST_BACK_S, MOST_TRIES, MOST_WAITING
from divisions.schedule.state import Entry, Outcome, Phase, Schedule

HOUR, DAY = 3_600.0, 86_400.0
NIGHT = datetime(2026, 11, 27, 2, tzinfo=UTC).timestamp()


def entry(catch_up=CatchUp.LAST, expression="0 2 * * *", now_s=NIGHT - HOUR, zone="UTC") -> Entry:
    cron = Cron(expression, zone, catch_up)
    return decisions.new_entry("churn", "/p/churn.yaml", cron, now_s, is_added=False)


def at(one: Entry, now_s: float) -> Entry:
    return decisions.begin(decisions.due(one, now_s), now_s)


def over(one: Entry, outcome=Outcome.SUCCEEDED) -> Entry:
    return decisions.ended(one, one.run.job_id, outcome)


@pytest.mark.parametrize("catch_up", list(CatchUp))
def test_a_run_starts_at_its_time_and_not_before_and_not_again(catch_up):
    waiting = at(entry(catch_up), NIGHT - 0.5)
    assert waiting.run is None
    started = at(waiting, NIGHT + 0.5)
    assert started.run.fire_s == NIGHT
    assert started.run.job_id == "churn-20261127T0200Z-1"
    assert started.run.day.isoformat() == "2026-11-27"
    assert at(over(started), NIGHT + 60).run is None


@pytest.mark.parametrize(("catch_up", "nights"), [(CatchUp.NONE, []), (CatchUp.LAST, [2]), (CatchUp.ALL, [0, 1, 2])])
def test_missed_nights(catch_up, nights):
    one, run_for = at(entry(catch_up), NIGHT + 2 * DAY + 5 * HOUR), []
    while one.run is not None:
        run_for.append((one.run.fire_s - NIGHT) / DAY)
        one = at(over(one), NIGHT + 2 * DAY + 6 * HOUR)
    assert run_for == nights
    if catch_up is CatchUp.NONE:
        assert (one.last.outcome, one.last.fire_s, one.last.message) == (
            Outcome.SKIPPED, NIGHT + 2 * DAY, "no scheduler was up"
        )  # fmt: skip


def test_a_cluster_that_comes_back_within_minutes_has_missed_nothing():
    assert at(entry(CatchUp.NONE), NIGHT + GRACE_S).run is not None
    assert at(entry(CatchUp.NONE), NIGHT + GRACE_S + 1).run is None


def test_a_month_of_nights_is_caught_up_at_most():
    one = decisions.due(entry(CatchUp.ALL), NIGHT + 400 * DAY)
    assert len(one.waiting_s) == MOST_WAITING
    assert one.waiting_s[-1] == NIGHT + 400 * DAY
    for more in range(401, 440):  # a run that never ends does not make the list grow
        one = decisions.due(one, NIGHT + more * DAY)
    assert len(one.waiting_s) == MOST_WAITING


@pytest.mark.parametrize(("catch_up", "then"), [(CatchUp.NONE, None), (CatchUp.LAST, 2 * DAY), (CatchUp.ALL, DAY)])
def test_a_pipeline_does_not_overlap_with_itself(catch_up, then):
    one = at(entry(catch_up), NIGHT)
    for nights in (1, 2):
        late = at(one, NIGHT + nights * DAY)
        assert late.run == one.run
        one = late
    if catch_up is CatchUp.NONE:
        assert one.last.message == "the run of 2026-11-27 02:00 UTC still went on"
    after = at(over(one), NIGHT + 2 * DAY + HOUR)
    assert (after.run.fire_s - NIGHT if after.run else None) == then


def test_a_clock_that_goes_back_an_hour_repeats_nothing():
    one = over(at(entry(), NIGHT + 10))
    for now_s in (NIGHT + 10 - HOUR, NIGHT - 1, NIGHT, NIGHT + 1, NIGHT + HOUR):
        one = at(one, now_s)
        assert one.run is None
    assert decisions.next_run_s(one, NIGHT - HOUR) == NIGHT + DAY
    assert at(one, NIGHT + DAY).run.fire_s == NIGHT + DAY


def test_a_clock_that_was_years_ahead_does_not_end_the_schedule():
    one = over(at(entry(), NIGHT + 3_650 * DAY))
    assert decisions.next_run_s(one, NIGHT + HOUR) == NIGHT + DAY
    assert at(at(one, NIGHT + HOUR), NIGHT + DAY).run.fire_s == NIGHT + DAY


def test_over_a_change_of_clocks_each_day_has_one_run():
    one = entry(CatchUp.ALL, "30 2 * * *", datetime(2026, 3, 28, tzinfo=UTC).timestamp(), "Europe/Berlin")
    days, now_s = [], one.decided_until_s
    while now_s < datetime(2026, 3, 31, tzinfo=UTC).timestamp():
        one = at(one, now_s)
        if one.run is not None:
            days.append(datetime.fromtimestamp(one.run.fire_s, UTC).isoformat())
            one = over(one)
        now_s += 600
    assert days == ["2026-03-28T01:30:00+00:00", "2026-03-29T01:00:00+00:00", "2026-03-30T00:30:00+00:00"]


def test_times_of_a_pause_are_not_caught_up():
    one = decisions.paused(entry(CatchUp.ALL), is_paused=True, now_s=NIGHT - HOUR)
    one = at(one, NIGHT + HOUR)
    assert one.run is None
    assert decisions.next_run_s(one, NIGHT + HOUR) is None
    one = decisions.paused(one, is_paused=False, now_s=NIGHT + 2 * HOUR)
    assert at(one, NIGHT + 2 * HOUR).run is None
    assert at(one, NIGHT + DAY).run.fire_s == NIGHT + DAY


def test_a_pause_that_no_scheduler_saw_counts_as_well():
    one = decisions.paused(entry(CatchUp.ALL), is_paused=True, now_s=NIGHT - HOUR)
    one = decisions.paused(one, is_paused=False, now_s=NIGHT + 2 * HOUR)
    assert at(one, NIGHT + 3 * HOUR).run is None


def test_times_at_which_the_file_was_broken_are_skipped_with_the_reason():
    broken = msgspec.structs.replace(entry(CatchUp.ALL), fault="churn.yaml:3:1: unknown key 'x'")
    one = at(broken, NIGHT + 1)
    assert one.run is None
    assert (one.last.outcome, one.last.message) == (Outcome.SKIPPED, "churn.yaml:3:1: unknown key 'x'")
    mended = decisions.read_again(one, one.cron, NIGHT + HOUR)
    assert at(mended, NIGHT + HOUR).run is None
    assert at(mended, NIGHT + DAY).run is not None


def test_another_trigger_counts_from_now_on():
    one = decisions.due(entry(CatchUp.ALL), NIGHT + DAY)
    changed = decisions.read_again(one, Cron("0 1 * * *", "UTC", CatchUp.ALL), NIGHT + DAY)
    assert at(changed, NIGHT + DAY).run is None
    assert at(changed, NIGHT + 2 * DAY - HOUR).run.fire_s == NIGHT + 2 * DAY - HOUR
    same = decisions.read_again(one, Cron("0 2 * * *", "UTC", CatchUp.LAST), NIGHT + DAY)
    assert same.waiting_s == one.waiting_s


def test_a_run_that_was_asked_for_starts_at_once_and_keeps_the_times():
    one = at(msgspec.structs.replace(entry(), asked_s=NIGHT - HOUR), NIGHT - 1_800)
    assert one.run.fire_s == NIGHT - 1_800
    assert at(one, NIGHT + 1).run == one.run
    assert at(over(at(one, NIGHT + 1)), NIGHT + 2).run.fire_s == NIGHT


def test_a_run_is_claimed_once_and_only_while_it_is_expected():
    schedule = Schedule().with_entry(at(entry(), NIGHT))
    job_id = schedule.entries[0].run.job_id
    claimed = decisions.claim(schedule, job_id)
    assert claimed.find("churn").run.phase is Phase.STARTED
    assert decisions.claim(claimed, job_id) is None
    assert decisions.claim(schedule, "other") is None
    assert decisions.claim(claimed.with_entry(over(claimed.find("churn"))), job_id) is None


def test_a_run_that_ray_forgot_is_asked_for_again_until_it_has_begun():
    one = at(entry(), NIGHT)
    job_id = one.run.job_id
    for tries in range(1, MOST_TRIES + 1):
        one = decisions.submitted(one, job_id)
        assert (one.run.phase, one.run.tries) == (Phase.SUBMITTED, tries)
        one = decisions.missing(one, job_id)
    assert (one.run, one.last.outcome) == (None, Outcome.FAILED)
    begun = decisions.claim(Schedule().with_entry(at(entry(), NIGHT)), job_id).find("churn")
    assert decisions.submitted(begun, job_id) == begun  # its report came before Ray's
    lost = decisions.missing(begun, job_id)
    assert (lost.run, lost.last.outcome, lost.last.message) == (None, Outcome.LOST, "the cluster ended while it ran")


@given(st.text())
def test_what_is_said_of_another_run_changes_nothing(job_id):
    one = at(entry(), NIGHT)
    if job_id != one.run.job_id:
        for change in (decisions.submitted, decisions.missing):
            assert change(one, job_id) == one
        assert decisions.ended(one, job_id, Outcome.FAILED) == one


class OneSchedule(RuleBasedStateMachine):
    """A schedule whose scheduler, clock, cluster and runs do what they want."""

    def __init__(self):
        super().__init__()
        self.now_s = NIGHT - 12 * HOUR
        self.entry = entry(CatchUp.ALL, "0 */6 * * *", self.now_s)
        self.fired: list[float] = []
        self.job_ids: list[str] = []
        self.known: set[str] = set()
        self.working: list[str] = []
        self.latest_s = self.now_s

    @rule(seconds=st.floats(0, 3 * DAY))
    def time_passes(self, seconds):
        self.now_s += seconds
        self.latest_s = max(self.latest_s, self.now_s)

    @rule(seconds=st.floats(0, MOST_BACK_S - 1))
    def clock_goes_back(self, seconds):
        self.now_s = max(self.now_s - seconds, self.latest_s - MOST_BACK_S + 1)

    @rule()
    def scheduler_steps(self):
        before = self.entry
        self.entry = at(self.entry, self.now_s)
        if self.entry.run is not None and before.run is None:
            self.fired.append(self.entry.run.fire_s)
            self.job_ids.append(self.entry.run.job_id)

    @rule(dies_before_note=st.booleans())
    def scheduler_submits(self, dies_before_note):
        if self.entry.run is not None and self.entry.run.phase is Phase.STARTING:
            self.known.add(self.entry.run.job_id)
            if not dies_before_note:
                self.entry = decisions.submitted(self.entry, self.entry.run.job_id)

    @rule()
    def a_job_begins(self):
        for job_id in self.known:
            claimed = decisions.claim(Schedule().with_entry(self.entry), job_id)
            if claimed is not None:
                self.entry = claimed.find("churn")
                self.working.append(job_id)

    @rule(outcome=st.sampled_from([Outcome.SUCCEEDED, Outcome.FAILED]))
    def a_job_ends(self, outcome):
        if self.entry.run is not None and self.entry.run.phase is Phase.STARTED:
            self.entry = over(self.entry, outcome)

    @rule()
    def cluster_forgets(self):
        self.known.clear()
        if self.entry.run is not None and self.entry.run.phase is not Phase.STARTING:
            self.entry = decisions.missing(self.entry, self.entry.run.job_id)

    @rule(is_paused=st.booleans())
    def user_pauses(self, is_paused):
        self.entry = decisions.paused(self.entry, is_paused=is_paused, now_s=self.now_s)

    @invariant()
    def no_time_runs_twice_and_no_job_begins_twice(self):
        assert len(set(self.fired)) == len(self.fired)
        assert self.fired == sorted(self.fired)
        assert len(set(self.job_ids)) == len(self.job_ids)
        assert len(set(self.working)) == len(self.working)

    @invariant()
    def it_can_be_kept(self):
        assert msgspec.json.decode(msgspec.json.encode(self.entry), type=Entry) == self.entry


TestOneSchedule = OneSchedule.TestCase
