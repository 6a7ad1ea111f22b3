"""What the schedule of a home remembers, as plain values."""

from __future__ import annotations

import enum
from datetime import UTC, date, datetime

import msgspec

from divisions.pipeline.trigger import CatchUp, Cron

FORMAT = 1


class Phase(enum.StrEnum):
    """Of a run: decided, taken by Ray, at work. A run that has ended is in `Entry.last`."""

    STARTING = "starting"
    SUBMITTED = "submitted"
    STARTED = "started"


class Outcome(enum.StrEnum):
    """``lost``: the cluster ended meanwhile. ``skipped``: no run was started for that time."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    LOST = "lost"
    SKIPPED = "skipped"


class ScheduledRun(msgspec.Struct, frozen=True):
    """A run that is not over. ``fire_s`` is the time that it runs for. ``tries`` counts how often Ray has taken it."""

    job_id: str
    fire_s: float
    phase: Phase = Phase.STARTING
    tries: int = 0

    @property
    def day(self) -> date:
        """The day of ``${today}``, in UTC."""
        return datetime.fromtimestamp(self.fire_s, UTC).date()


class Ended(msgspec.Struct, frozen=True):
    fire_s: float
    outcome: Outcome
    message: str = ""
    job_id: str = ""
    run_id: str = ""


class Entry(msgspec.Struct, frozen=True):
    """A pipeline that runs by its trigger.

    Attributes:
        pipeline: its name.
        path: its file, absolute.
        is_added: by ``divisions schedule add``; else it was found in the folder of ``divisions up``.
        decided_until_s: all times up to here are decided, and never come again.
        waiting_s: times whose run is to come, oldest first.
        asked_s: when ``run-now`` asked for a run; 0 if nobody waits for one.
        num_runs: how many runs were decided so far.
        fault: why its file cannot be used now; empty if it can.
    """

    pipeline: str
    path: str
    expression: str
    zone: str
    catch_up: CatchUp
    decided_until_s: float
    is_added: bool = False
    is_paused: bool = False
    waiting_s: tuple[float, ...] = ()
    asked_s: float = 0.0
    num_runs: int = 0
    run: ScheduledRun | None = None
    last: Ended | None = None
    fault: str = ""

    @property
    def cron(self) -> Cron:
        return Cron(self.expression, self.zone, self.catch_up)


class Schedule(msgspec.Struct, frozen=True):
    """``notes`` are files of the folder that are not scheduled, and why."""

    entries: tuple[Entry, ...] = ()
    notes: tuple[str, ...] = ()
    format: int = FORMAT

    def find(self, pipeline: str) -> Entry | None:
        return next((entry for entry in self.entries if entry.pipeline == pipeline), None)

    def of_job(self, job_id: str) -> Entry | None:
        return next((each for each in self.entries if each.run is not None and each.run.job_id == job_id), None)

    def with_entry(self, changed: Entry) -> Schedule:
        """The entry in place of the one of its pipeline, or beside the others."""
        others = {entry.pipeline: entry for entry in self.entries} | {changed.pipeline: changed}
        return msgspec.structs.replace(self, entries=tuple(others[name] for name in sorted(others)))

    def without(self, pipeline: str) -> Schedule:
        kept = tuple(entry for entry in self.entries if entry.pipeline != pipeline)
        return msgspec.structs.replace(self, entries=kept)
