"""Runs pipelines by their trigger: a child of the supervisor, beside the cluster's own processes.

    python -m deploy.schedule.scheduler          in the folder that ``divisions up`` was started in

Every second it reads the pipeline files and the schedule, decides (`divisions.schedule.decisions`), and asks Ray's job
server for what was decided. It keeps nothing in memory that it needs: killed at any point, it goes on from
``schedule.json``. What it does is in ``logs/schedule.log`` of the home.
"""

from __future__ import annotations

import logging
import os
import shlex
import sys
import time
from collections.abc import Callable
from logging.handlers import RotatingFileHandler
from pathlib import Path

from deploy.schedule.job_server import Jobs, JobServer, JobServerAwayError, JobStatus
from deploy.supervision.cluster_file import UP, read_cluster
from divisions.clock import Clock, SystemClock
from divisions.environment import ray_token_of
from divisions.errors import DivisionsError
from divisions.logs.json_lines import log_to
from divisions.notice import Notice, Topic, key_of
from divisions.notify.notifier import notifier_of
from divisions.schedule.decisions import begin, due, ended, missing, moment, submitted
from divisions.schedule.folder import PIPELINES, PipelineFiles, files_of, observe
from divisions.schedule.state import Entry, Outcome, Phase, Schedule, ScheduledRun
from divisions.schedule.state_file import change_schedule, scheduling_alone
from divisions.settings import PRIVATE_UMASK, Settings, load_settings

LOG = "schedule.log"
POLL_S = 1.0
_ASK_S = 3.0
"""How often Ray is asked for a run that goes on."""
_TOLD_S = 86_400.0
"""A run may take hours, so this is counted from the time that it was for."""
_MOST_LOG_BYTES = 1_000_000

_log = logging.getLogger(__name__)


class Scheduler:
    """Runs the pipelines of one home.

    Args:
        home: has the schedule.
        root: the folder that ``divisions up`` was started in.
        jobs: gives the job server of the cluster; None while it has none.
        clock: its wall clock decides.
        tell: takes notices of failed runs, each one again and again: it knows what was told.
    """

    def __init__(
        self,
        home: Path,
        root: Path,
        jobs: Callable[[], Jobs | None],
        clock: Clock,
        tell: Callable[[Notice], None] = lambda notice: None,
    ) -> None:
        self._home = home
        self._root = root
        self._jobs = jobs
        self._clock = clock
        self._notify = tell
        self._files = PipelineFiles()
        self._asked_s: dict[str, float] = {}
        self._told: dict[str, str] = {}

    def step(self) -> None:
        """Decides and acts once.

        Raises:
            ClusterError: the schedule cannot be read or written; nothing was started.
        """
        now_s = self._clock.wall_s()
        schedule = change_schedule(self._home, lambda before: self._decide(before, now_s))
        assert schedule is not None  # `_decide` always gives one
        self._tell(schedule)
        going_on = {entry.run.job_id for entry in schedule.entries if entry.run is not None}
        self._asked_s = {job_id: at_s for job_id, at_s in self._asked_s.items() if job_id in going_on}
        for entry in schedule.entries:
            if (notice := failure(entry, now_s)) is not None:
                self._notify(notice)
            if entry.run is not None:
                self._attend(entry, entry.run)

    def _decide(self, schedule: Schedule, now_s: float) -> Schedule:
        paths = dict.fromkeys([*files_of(self._root / PIPELINES), *(entry.path for entry in schedule.entries)])
        schedule = observe(schedule, self._root, {path: self._files.read(path) for path in paths}, now_s)
        for entry in schedule.entries:
            schedule = schedule.with_entry(begin(due(entry, now_s), now_s))
        return schedule

    def _attend(self, entry: Entry, run: ScheduledRun) -> None:
        try:
            jobs = self._jobs()
            if jobs is None:
                return
            if run.phase is Phase.STARTING:
                self._submit(jobs, entry, run)
            elif self._clock.monotonic_s() - self._asked_s.get(run.job_id, -_ASK_S) >= _ASK_S:
                self._asked_s[run.job_id] = self._clock.monotonic_s()
                self._follow(jobs, entry, run)
            self._told.pop("away", None)
        except JobServerAwayError as error:  # Ray is being started again
            self._say("away", error.message)

    def _submit(self, jobs: Jobs, entry: Entry, run: ScheduledRun) -> None:
        metadata = {"pipeline": entry.pipeline, "fire_time": moment(run.fire_s)}
        try:
            jobs.submit(run.job_id, entrypoint(entry, run, self._root), metadata)
        except JobServerAwayError:
            raise
        except DivisionsError as error:
            why = error.message
            self._change(entry.pipeline, lambda each: ended(each, run.job_id, Outcome.FAILED, why))
        else:
            self._change(entry.pipeline, lambda each: submitted(each, run.job_id))

    def _follow(self, jobs: Jobs, entry: Entry, run: ScheduledRun) -> None:
        job = jobs.find(run.job_id)
        if job is None:
            self._change(entry.pipeline, lambda each: missing(each, run.job_id))
        elif job.status.is_over:
            is_good = job.status is JobStatus.SUCCEEDED
            outcome = Outcome.SUCCEEDED if is_good else Outcome.FAILED
            message = "" if is_good else jobs.last_error(run.job_id) or job.message or job.status.value
            self._change(entry.pipeline, lambda each: ended(each, run.job_id, outcome, message))

    def _change(self, pipeline: str, change: Callable[[Entry], Entry]) -> None:
        def changed(schedule: Schedule) -> Schedule | None:
            entry = schedule.find(pipeline)
            return None if entry is None else schedule.with_entry(change(entry))

        change_schedule(self._home, changed)

    def _tell(self, schedule: Schedule) -> None:
        """Logs what has changed since the last time."""
        self._say("notes", "; ".join(schedule.notes))
        for entry in schedule.entries:
            name = entry.pipeline
            self._say(f"{name}: fault", f"{name}: {entry.fault}" if entry.fault else "")
            run, last = entry.run, entry.last
            self._say(f"{name}: run", f"{run.job_id} {run.phase.value}" if run else "")
            if last is not None:
                text = f"{name}: the run of {moment(last.fire_s)} {last.outcome.value}"
                self._say(f"{name}: last", f"{text}: {last.message}" if last.message else text)

    def _say(self, key: str, text: str) -> None:
        if self._told.get(key, "") != text:
            self._told[key] = text
            if text:
                _log.info("%s", text)


def failure(entry: Entry, now_s: float) -> Notice | None:
    """What is told of a pipeline's last run, if that has failed and was for a time of the last day."""
    last = entry.last
    if last is None or last.outcome not in {Outcome.FAILED, Outcome.LOST} or now_s - last.fire_s > _TOLD_S:
        return None
    text = f"the run of {moment(last.fire_s)} {last.outcome.value}" + (f": {last.message}" if last.message else "")
    key = key_of(Topic.RUN_FAILED, entry.pipeline, last.job_id, last.fire_s)
    return Notice(key, Topic.RUN_FAILED, entry.pipeline, text, now_s)


def entrypoint(entry: Entry, run: ScheduledRun, root: Path) -> str:
    """The shell command of a run, in the folder of ``divisions up``: Ray starts jobs in one of its own."""
    command = [sys.executable, "-m", "trainers", "--pipeline", entry.path, "--today", run.day.isoformat()]
    return f"cd {shlex.quote(str(root))} && exec {shlex.join([*command, '--scheduled', run.job_id])}"


def cluster_jobs(settings: Settings) -> JobServer | None:
    """The job server of the home's cluster; None while it starts, ends, or comes back after a crash."""
    cluster = read_cluster(settings.home)
    if cluster is None or cluster.phase != UP or not cluster.dashboard_url:
        return None
    return JobServer(cluster.dashboard_url, ray_token_of(settings.home) if cluster.has_token else "")


def keep_going(settings: Settings, root: Path, clock: Clock) -> None:
    """Never returns, except by an exception that is no `DivisionsError`."""
    notifier = notifier_of(settings, clock, "scheduler")
    if notifier is None:
        scheduler = Scheduler(settings.home, root, lambda: cluster_jobs(settings), clock)
    else:
        notifier.start()
        scheduler = Scheduler(settings.home, root, lambda: cluster_jobs(settings), clock, notifier.tell)
    told = ""
    while True:
        try:
            scheduler.step()
            told = ""
        except DivisionsError as error:  # a full disk, a damaged file: each is told once
            if str(error) != told:
                told = str(error)
                _log.error("%s", told)
        time.sleep(POLL_S)


def main() -> int:
    os.umask(PRIVATE_UMASK)
    settings = load_settings()
    folder = settings.home / "logs"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    handler = RotatingFileHandler(folder / LOG, maxBytes=_MOST_LOG_BYTES, backupCount=1)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    _log.addHandler(handler)
    logging.getLogger("divisions.notify").addHandler(handler)
    _log.setLevel(logging.INFO)
    log_to(settings.home, "scheduler")
    has_waited = False
    while True:
        with scheduling_alone(settings.home) as is_alone:
            if is_alone:
                keep_going(settings, Path.cwd(), SystemClock())
        if not has_waited:
            _log.info("another scheduler of %s is at work; this one waits", settings.home)
            has_waited = True
        time.sleep(POLL_S)


if __name__ == "__main__":
    sys.exit(main())
