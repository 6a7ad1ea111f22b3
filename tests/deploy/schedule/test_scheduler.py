"""The scheduler against a job server in memory, with a clock that the test moves, killed at every point."""

import shlex
from datetime import UTC, datetime

import msgspec
import pytest

from deploy.schedule.job_server import Job, JobServerAwayError, JobStatus
from deploy.schedule.scheduler import Scheduler, failure
from divisions.clock import ManualClock
from divisions.errors import ClusterError
from divisions.schedule import state_file
from divisions.schedule.claims import EndReport
from divisions.schedule.folder import PIPELINES
from divisions.schedule.state import Outcome, Phase
from divisions.schedule.state_file import change_schedule, read_schedule

NIGHT = datetime(2026, 11, 27, 2, tzinfo=UTC).timestamp()
TEXT = """pipeline: churn
trigger: {schedule: "0 2 * * *", catch_up: CATCH_UP}
stages: {data_prep: {input: data}, deployment: {endpoint: /api/v2/predict/churn}}
"""


class KilledError(Exception):
    """The process ends here."""


class FakeJobs:
    """Ray's job server: refuses an id that it has."""

    def __init__(self) -> None:
        self.jobs: dict[str, Job] = {}
        self.entrypoints: list[str] = []
        self.is_away = False
        self.refusal = ""

    def submit(self, job_id, entrypoint, metadata):
        if self.is_away:
            raise JobServerAwayError("it does not answer")
        if self.refusal:
            raise ClusterError(self.refusal)
        if job_id not in self.jobs:
            self.jobs[job_id] = Job(JobStatus.PENDING)
            self.entrypoints.append(entrypoint)

    def find(self, job_id):
        if self.is_away:
            raise JobServerAwayError("it does not answer")
        return self.jobs.get(job_id)

    def last_error(self, job_id):
        return "raw data is gone" if self.jobs[job_id].message is None else ""


class World:
    def __init__(self, folder, catch_up="last"):
        self.home, self.root = folder / "home", folder / "my work"
        self.home.mkdir()
        (self.root / PIPELINES).mkdir(parents=True)
        self.file = self.root / PIPELINES / "churn.yaml"
        self.file.write_text(TEXT.replace("CATCH_UP", catch_up))
        self.clock, self.jobs = ManualClock(NIGHT - 3_600), FakeJobs()
        self.restart()

    def restart(self):
        self.scheduler = Scheduler(self.home, self.root, lambda: self.jobs, self.clock)
        self.scheduler.step()

    def step(self, seconds=5.0):
        self.clock.advance(seconds)
        self.scheduler.step()
        return self.entry

    @property
    def entry(self):
        return read_schedule(self.home).entries[0]

    @property
    def job_id(self):
        return self.entry.run.job_id

    def job_begins(self, job_id=""):
        return EndReport(self.home, job_id or self.job_id).begins()


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def test_a_night_of_a_pipeline(world):
    assert world.step(3_590).run is None
    assert world.step(10).run.phase is Phase.SUBMITTED
    (entrypoint,) = world.jobs.entrypoints
    words = shlex.split(entrypoint)
    assert words[:4] == ["cd", str(world.root), "&&", "exec"]
    assert words[5:] == [
        "-m", "trainers", "--pipeline", str(world.file), "--today", "2026-11-27",
        "--scheduled", "churn-20261127T0200Z-1",
    ]  # fmt: skip
    assert world.job_begins()
    EndReport(world.home, world.job_id).succeeded("churn-predictor 1.2 passed", "r-1")
    assert (world.step().run, world.entry.last.outcome) == (None, Outcome.SUCCEEDED)
    assert world.step(3_600).run is None
    assert len(world.jobs.entrypoints) == 1


def test_a_run_that_dies_without_a_word_is_told_by_ray(world):
    world.step(3_600)
    world.job_begins()
    world.jobs.jobs[world.job_id] = Job(JobStatus.FAILED, "it was killed")
    last = world.step().last
    assert (last.outcome, last.message) == (Outcome.FAILED, "it was killed")


def test_a_run_that_fails_before_it_can_report_tells_its_error(world):
    world.step(3_600)
    world.jobs.jobs[world.job_id] = Job(JobStatus.FAILED)
    assert world.step().last.message == "raw data is gone"


def test_a_job_that_ray_refuses_has_failed(world):
    world.jobs.refusal = "Ray's job server refuses churn (400): no"
    world.step(3_600)
    assert (world.entry.run, world.entry.last.outcome) == (None, Outcome.FAILED)
    assert world.entry.last.message == "Ray's job server refuses churn (400): no"


def test_a_job_server_that_is_away_costs_no_run(world):
    world.jobs.is_away = True
    for seconds in (3_600, 5, 5, 5, 5):
        world.step(seconds)
    assert world.entry.run.phase is Phase.STARTING
    world.jobs.is_away = False
    world.step()
    assert world.entry.run.phase is Phase.SUBMITTED
    assert len(world.jobs.entrypoints) == 1


@pytest.mark.parametrize("write", [1, 2])
@pytest.mark.parametrize("is_written", [False, True])
def test_a_scheduler_that_is_killed_at_any_write_starts_the_run_once(world, monkeypatch, write, is_written):
    """Before the write reaches the disk, or just after."""
    writes, real = [], state_file._write

    is_scheduler = True

    def killed(home, schedule):
        writes.append(schedule)
        if is_scheduler and len(writes) == write:
            if is_written:
                real(home, schedule)
            raise KilledError
        real(home, schedule)

    monkeypatch.setattr(state_file, "_write", killed)
    begun = []
    world.clock.advance(3_600)
    for _ in range(6):
        try:
            world.scheduler.step()
        except KilledError:
            world.scheduler = Scheduler(world.home, world.root, lambda: world.jobs, world.clock)
        is_scheduler = False
        begun += [job_id for job_id in world.jobs.jobs if world.job_begins(job_id)]
        is_scheduler = True
        world.clock.advance(5)
    assert len(writes) >= 3  # the last is the run's own
    assert begun == ["churn-20261127T0200Z-1"]
    assert len(world.jobs.entrypoints) == 1


def test_killed_between_ray_and_the_note_of_it_the_run_starts_once(world, monkeypatch):
    submit = world.jobs.submit

    def killed(*given):
        submit(*given)
        raise KilledError

    monkeypatch.setattr(world.jobs, "submit", killed)
    with pytest.raises(KilledError):
        world.step(3_600)
    monkeypatch.setattr(world.jobs, "submit", submit)
    assert world.job_begins()
    world.restart()
    world.step()
    assert world.entry.run.phase is Phase.STARTED
    assert len(world.jobs.entrypoints) == 1
    assert not world.job_begins()


def test_a_cluster_that_crashes_while_the_run_is_at_work_loses_it_and_does_not_repeat_it(world):
    world.step(3_600)
    world.job_begins()
    world.jobs.jobs.clear()
    world.restart()
    last = world.step().last
    assert (last.outcome, last.message) == (Outcome.LOST, "the cluster ended while it ran")
    assert world.step(600).run is None
    assert len(world.jobs.entrypoints) == 1


def test_a_cluster_that_crashes_before_the_run_began_starts_it_again(world):
    world.step(3_600)
    world.jobs.jobs.clear()
    world.step()
    world.step()
    assert world.entry.run.phase is Phase.SUBMITTED
    assert len(set(world.jobs.entrypoints)) == 1
    assert world.job_begins()


@pytest.mark.parametrize(("catch_up", "days"), [("none", []), ("last", [29]), ("all", [27, 28, 29])])
def test_missed_nights_run_with_their_own_day(tmp_path, catch_up, days):
    world = World(tmp_path, catch_up)
    world.clock.advance(3 * 86_400)  # the machine sleeps; then all starts anew
    world.restart()
    while world.entry.run is not None:
        world.job_begins()
        EndReport(world.home, world.job_id).succeeded("", "")
        world.step()
    begun = [shlex.split(each)[10] for each in world.jobs.entrypoints]
    assert begun == [f"2026-11-{day}" for day in days]


def test_a_clock_that_goes_back_an_hour_starts_nothing_again(world):
    world.step(3_600)
    EndReport(world.home, world.job_id).succeeded("", "")
    world.step(-3_600)
    world.step(3_600)
    assert len(world.jobs.entrypoints) == 1


def test_a_file_that_breaks_after_it_was_scheduled_is_told_at_its_time(world):
    world.file.write_text("pipeline: 3")
    entry = world.step(3_600)
    assert (entry.run, entry.last.outcome) == (None, Outcome.SKIPPED)
    assert entry.last.message == entry.fault
    assert str(world.file) in entry.fault


def test_a_full_disk_starts_nothing(world, monkeypatch):
    def full(*given):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(state_file, "_write", full)
        with pytest.raises(ClusterError, match="No space left on device"):
            world.step(3_600)
    assert world.jobs.entrypoints == []
    world.step()
    assert len(world.jobs.entrypoints) == 1


def test_a_schedule_that_does_not_change_is_not_written(world):
    before = (world.home / state_file.NAME).stat().st_ino
    for _ in range(5):
        world.step(60)
    assert (world.home / state_file.NAME).stat().st_ino == before


def test_run_now_is_a_run_of_today(world):
    asked = msgspec.structs.replace(world.entry, asked_s=world.clock.wall_s())
    change_schedule(world.home, lambda schedule: schedule.with_entry(asked))
    world.step()
    assert world.job_id == "churn-20261127T0100Z-1"
    assert len(world.jobs.entrypoints) == 1


def test_a_failed_run_is_told_with_one_key_and_a_good_or_old_one_is_not(world):
    told = []
    world.scheduler = Scheduler(world.home, world.root, lambda: world.jobs, world.clock, told.append)
    world.step(3_600)
    job_id = world.job_id
    world.jobs.jobs[job_id] = Job(JobStatus.FAILED)
    world.step()
    assert told == []
    world.step()
    world.step()
    assert {(notice.topic.value, notice.subject, notice.text) for notice in told} == {
        ("run-failed", "churn", "the run of 2026-11-27 02:00 UTC failed: raw data is gone")
    }
    assert len({notice.key for notice in told}) == 1
    assert job_id in told[0].key
    assert failure(world.entry, NIGHT + 90_000) is None
    told.clear()
    world.step(86_400)
    world.jobs.jobs[world.job_id] = Job(JobStatus.SUCCEEDED)
    world.step()
    told.clear()
    world.step()
    assert told == []
