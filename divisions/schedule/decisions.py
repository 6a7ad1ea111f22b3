"""What happens to each time of a trigger. Pure: an entry and the present time in, the changed entry out.

    a time comes ──────────────> its run starts: `due`, then `begin`
         │ the run before still goes on, or no cluster was up
         v
    catch_up: none   the time is skipped, unless it is at most `GRACE_S` late
              last   one run follows, for the newest such time
              all    a run follows for each, oldest first, for the newest `MOST_WAITING`

A run is decided before it is started: `begin` gives it an id, which is on disk before Ray is asked. The run itself
claims that id (`claim`), once. So however often Ray is asked after a crash, it runs once. A run that had begun and is
gone (the cluster crashed) is not repeated: it may be what crashed the cluster.

Times at which the schedule was paused, or the file was broken, are skipped. The clock may go back: times that are
decided do not come again, unless it goes back by more than `MOST_BACK_S`. Such a clock was wrong before.
"""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from divisions.pipeline.trigger import CatchUp, Cron
from divisions.schedule.fire_times import newest_fires, next_fire_s
from divisions.schedule.state import Ended, Entry, Outcome, Phase, Schedule, ScheduledRun

GRACE_S = 300.0
"""A cluster that crashed is up again in less."""
MOST_WAITING = 31
MOST_BACK_S = 25 * 3_600.0
MOST_TRIES = 3
MOST_MESSAGE = 500


def new_entry(pipeline: str, path: str, cron: Cron, now_s: float, *, is_added: bool) -> Entry:
    """An entry whose first time is the next one."""
    return Entry(
        pipeline=pipeline,
        path=path,
        expression=cron.expression,
        zone=cron.zone,
        catch_up=cron.catch_up,
        decided_until_s=now_s,
        is_added=is_added,
    )


def read_again(entry: Entry, cron: Cron, now_s: float) -> Entry:
    """The entry by what its file says now. Another trigger counts from now on; one that was broken, too."""
    is_same = (entry.expression, entry.zone) == (cron.expression, cron.zone)
    changed = msgspec.structs.replace(
        entry, expression=cron.expression, zone=cron.zone, catch_up=cron.catch_up, fault=""
    )
    return changed if is_same else msgspec.structs.replace(changed, decided_until_s=now_s, waiting_s=())


def due(entry: Entry, now_s: float) -> Entry:
    """Decides all times up to ``now_s``."""
    if entry.decided_until_s - now_s > MOST_BACK_S:
        entry = msgspec.structs.replace(entry, decided_until_s=now_s, waiting_s=())
    if now_s <= entry.decided_until_s:
        return entry
    times_s = newest_fires(entry.cron, entry.decided_until_s, now_s, MOST_WAITING)
    if not times_s:
        return entry
    newest_s = times_s[-1]
    entry = msgspec.structs.replace(entry, decided_until_s=newest_s)
    if entry.is_paused:
        return entry
    if entry.fault:
        return _skipped(entry, newest_s, entry.fault)
    if entry.catch_up is CatchUp.ALL:
        return msgspec.structs.replace(entry, waiting_s=(*entry.waiting_s, *times_s)[-MOST_WAITING:])
    if entry.catch_up is CatchUp.NONE:
        if entry.run is not None:
            return _skipped(entry, newest_s, f"the run of {moment(entry.run.fire_s)} still went on")
        if now_s - newest_s > GRACE_S:
            return _skipped(entry, newest_s, "no scheduler was up")
    return msgspec.structs.replace(entry, waiting_s=(newest_s,))


def begin(entry: Entry, now_s: float) -> Entry:
    """Decides the next run, if one waits and none goes on. It goes to disk before Ray is asked."""
    if entry.run is not None or not (entry.asked_s or entry.waiting_s):
        return entry
    if entry.asked_s:
        entry = msgspec.structs.replace(entry, asked_s=0.0)
        fire_s = now_s
    else:
        fire_s, *rest = entry.waiting_s
        entry = msgspec.structs.replace(entry, waiting_s=tuple(rest))
    number = entry.num_runs + 1
    job_id = f"{entry.pipeline}-{datetime.fromtimestamp(fire_s, UTC):%Y%m%dT%H%M}Z-{number}"
    return msgspec.structs.replace(entry, num_runs=number, run=ScheduledRun(job_id, fire_s))


def submitted(entry: Entry, job_id: str) -> Entry:
    """Ray has taken the run."""
    if entry.run is None or (entry.run.job_id, entry.run.phase) != (job_id, Phase.STARTING):
        return entry
    taken = msgspec.structs.replace(entry.run, phase=Phase.SUBMITTED, tries=entry.run.tries + 1)
    return msgspec.structs.replace(entry, run=taken)


def claim(schedule: Schedule, job_id: str) -> Schedule | None:
    """The schedule with the run at work; None if it is at work already, or is not expected."""
    entry = schedule.of_job(job_id)
    if entry is None or entry.run is None or entry.run.phase is Phase.STARTED:
        return None
    return schedule.with_entry(
        msgspec.structs.replace(entry, run=msgspec.structs.replace(entry.run, phase=Phase.STARTED))
    )


def missing(entry: Entry, job_id: str) -> Entry:
    """Ray does not know the run: it is asked again, unless the run has begun, or was tried often enough."""
    if entry.run is None or entry.run.job_id != job_id:
        return entry
    if entry.run.phase is Phase.STARTED:
        return ended(entry, job_id, Outcome.LOST, "the cluster ended while it ran")
    if entry.run.tries >= MOST_TRIES:
        return ended(entry, job_id, Outcome.FAILED, f"the cluster forgot it {MOST_TRIES} times before it began")
    return msgspec.structs.replace(entry, run=msgspec.structs.replace(entry.run, phase=Phase.STARTING))


def ended(entry: Entry, job_id: str, outcome: Outcome, message: str = "", run_id: str = "") -> Entry:
    """The run is over; a run that is not the present one changes nothing."""
    if entry.run is None or entry.run.job_id != job_id:
        return entry
    text = " ".join(message.split())[:MOST_MESSAGE]
    return msgspec.structs.replace(entry, run=None, last=Ended(entry.run.fire_s, outcome, text, job_id, run_id))


def paused(entry: Entry, *, is_paused: bool, now_s: float) -> Entry:
    """Times that pass meanwhile are not caught up; what waited before does not run either."""
    decided_until_s = max(entry.decided_until_s, now_s)
    return msgspec.structs.replace(entry, is_paused=is_paused, waiting_s=(), decided_until_s=decided_until_s)


def next_run_s(entry: Entry, now_s: float) -> float | None:
    """When the next run starts: now if one waits; None if none will."""
    if entry.is_paused or entry.fault:
        return None
    if entry.waiting_s:
        return now_s
    known_s = entry.decided_until_s if entry.decided_until_s - now_s <= MOST_BACK_S else now_s
    return next_fire_s(entry.cron, max(known_s, now_s))


def moment(time_s: float) -> str:
    """A time for people, in UTC.

    >>> moment(0.0)
    '1970-01-01 00:00 UTC'
    """
    return f"{datetime.fromtimestamp(time_s, UTC):%Y-%m-%d %H:%M} UTC"


def _skipped(entry: Entry, fire_s: float, why: str) -> Entry:
    return msgspec.structs.replace(entry, last=Ended(fire_s, Outcome.SKIPPED, why[:MOST_MESSAGE]))
