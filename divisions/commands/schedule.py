"""``divisions schedule …``: which pipelines run by themselves, and when."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from divisions.commands.output import Format, Output, print_json, table
from divisions.errors import NotRunningError, UsageError

if TYPE_CHECKING:
    from divisions.schedule.state import Ended, Entry, Schedule

app = typer.Typer(help="Run pipelines by their trigger.", no_args_is_help=True, rich_markup_mode=None)

MAX_MESSAGE_CHARS = 60

HEADER = ("PIPELINE", "SCHEDULE", "CATCH UP", "NEXT RUN", "LAST RUN")

Name = Annotated[str, typer.Argument(metavar="PIPELINE", help="The pipeline's name.")]


@app.command("list")
def list_schedules(output: Output = Format.TEXT) -> None:
    """List scheduled pipelines with their next and their last run."""
    from divisions.schedule.state_file import has_scheduler, read_schedule

    home, now_s = _home(), _now_s()
    schedule = read_schedule(home)
    is_obeyed = has_scheduler(home)
    if output is Format.JSON:
        print_json({"schedules": as_json(schedule, now_s), "notes": schedule.notes, "scheduler": is_obeyed})
        return
    lines = render(schedule, now_s)
    print("\n".join(lines) if lines else "No pipeline is scheduled. `divisions schedule add FILE` schedules one.")
    if schedule.entries and not is_obeyed:
        print("Nothing starts these runs now: no `divisions up` of this home runs.")


@app.command("add")
def add(
    pipeline: Annotated[Path, typer.Argument(help="A pipeline file with a trigger.")], output: Output = Format.TEXT
) -> None:
    """Schedule a pipeline file that is not in `.divisions/pipeline` of the folder that `up` was started in."""
    from divisions.pipeline.file import load_pipeline
    from divisions.schedule.decisions import new_entry
    from divisions.schedule.state_file import change_schedule

    found = load_pipeline(pipeline)
    trigger, path = found.trigger, str(pipeline.absolute())
    if trigger is None:
        raise UsageError(f"{pipeline} has no trigger", remedy='write one, as in trigger: "schedule: 0 2 * * *"')

    def added(schedule: Schedule) -> Schedule | None:
        present = schedule.find(found.name)
        if present is None:
            return schedule.with_entry(new_entry(found.name, path, trigger, _now_s(), is_added=True))
        if present.path != path:
            raise UsageError(
                f"the pipeline {found.name} is scheduled by {present.path}",
                remedy=f"remove that with `divisions schedule remove {found.name}`, or give this one another name",
            )
        return None

    home = _home()
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    change_schedule(home, added)
    _show(found.name, output)


@app.command("remove")
def remove(pipeline: Name, output: Output = Format.TEXT) -> None:
    """Forget a pipeline that was added, or whose file is gone. A run that goes on is left alone."""
    from divisions.schedule.folder import PIPELINES
    from divisions.schedule.state_file import change_schedule, read_schedule

    def removed(schedule: Schedule) -> Schedule:
        entry = _find(schedule, pipeline)
        if not entry.is_added and Path(entry.path).exists():
            raise UsageError(
                f"{entry.path} is in {PIPELINES}, so its trigger counts",
                remedy=f"remove its trigger, or stop it with `divisions schedule pause {pipeline}`",
            )
        return schedule.without(pipeline)

    home = _home()
    removed(read_schedule(home))
    change_schedule(home, removed)
    _print_done({"removed": pipeline}, f"{pipeline} is not scheduled any more.", output)


@app.command("pause")
def pause(pipeline: Name, output: Output = Format.TEXT) -> None:
    """Let the times of a pipeline pass. They are not caught up later. A run that goes on is left alone."""
    _change(pipeline, lambda entry, now_s: _paused(entry, now_s, is_paused=True))
    _show(pipeline, output)


@app.command("resume")
def resume(pipeline: Name, output: Output = Format.TEXT) -> None:
    """Run a paused pipeline by its trigger again."""
    _change(pipeline, lambda entry, now_s: _paused(entry, now_s, is_paused=False))
    _show(pipeline, output)


@app.command("run-now")
def run_now(pipeline: Name, output: Output = Format.TEXT) -> None:
    """Start a run of a scheduled pipeline at once, as its trigger would; also of a paused one."""
    from divisions.schedule.state_file import has_scheduler

    home = _home()

    def asked(entry: Entry, now_s: float) -> Entry:
        import msgspec

        if entry.fault:
            raise UsageError(entry.fault, remedy="mend it first")
        if entry.run is not None or entry.asked_s:
            raise UsageError(f"a run of {pipeline} goes on", remedy="wait for its end; see `divisions schedule list`")
        return msgspec.structs.replace(entry, asked_s=now_s)

    if not has_scheduler(home):
        raise NotRunningError(
            f"nothing starts runs: no `divisions up` of {home} runs", remedy="start one, or use `divisions run FILE`"
        )
    _change(pipeline, asked)
    _print_done({"pipeline": pipeline, "asked": True}, f"A run of {pipeline} starts.", output)


def render(schedule: Schedule, now_s: float) -> list[str]:
    """A table of the scheduled pipelines, and what is wrong with files; no lines if there are neither."""
    rows = [
        (entry.pipeline, str(entry.cron), entry.catch_up.value, _next_run(entry, now_s), _last_run(entry))
        for entry in schedule.entries
    ]
    faults = [f"{entry.pipeline}: {entry.fault}" for entry in schedule.entries if entry.fault]
    faults += [
        f"{entry.pipeline}: the last run {entry.last.outcome.value}: {entry.last.message}"
        for entry in schedule.entries
        if entry.last is not None and _is_long(entry.last)
    ]
    return ([table(HEADER, rows)] if rows else []) + faults + list(schedule.notes)


def as_json(schedule: Schedule, now_s: float) -> Sequence[dict[str, Any]]:
    """The scheduled pipelines with their next run, in seconds since the epoch."""
    import msgspec

    from divisions.schedule.decisions import next_run_s

    return [{**msgspec.to_builtins(entry), "next_run_s": next_run_s(entry, now_s)} for entry in schedule.entries]


def _next_run(entry: Entry, now_s: float) -> str:
    from divisions.schedule.decisions import next_run_s

    if entry.run is not None:
        return f"{entry.run.phase.value}, of {_local(entry.run.fire_s, entry.zone)}"
    if entry.is_paused:
        return "paused"
    at_s = next_run_s(entry, now_s)
    if at_s is None:
        return "never: see below" if entry.fault else "never"
    return "now" if at_s <= now_s else _local(at_s, entry.zone)


def _last_run(entry: Entry) -> str:
    last = entry.last
    if last is None:
        return "-"
    text = f"{_local(last.fire_s, entry.zone)} {last.outcome.value}"
    if not last.message:
        return text
    return f"{text}: see below" if _is_long(last) else f"{text}: {last.message}"


def _is_long(last: Ended) -> bool:
    """Whether a run's message would break the table's lines; what has failed is told with its remedy."""
    return len(last.message) > MAX_MESSAGE_CHARS


def _local(time_s: float, zone: str) -> str:
    """A time in the zone of its trigger.

    >>> _local(0.0, "UTC"), _local(0.0, "Europe/Berlin")
    ('1970-01-01 00:00 UTC', '1970-01-01 01:00 CET')
    """
    from zoneinfo import ZoneInfo

    at = datetime.fromtimestamp(time_s, UTC if zone == "UTC" else ZoneInfo(zone))
    return f"{at:%Y-%m-%d %H:%M %Z}"


def _paused(entry: Entry, now_s: float, *, is_paused: bool) -> Entry:
    from divisions.schedule.decisions import paused

    return paused(entry, is_paused=is_paused, now_s=now_s)


def _change(pipeline: str, change: Callable[[Entry, float], Entry]) -> None:
    from divisions.schedule.state_file import change_schedule, read_schedule

    home = _home()
    _find(read_schedule(home), pipeline)  # without a home there is no folder to write into
    change_schedule(home, lambda schedule: schedule.with_entry(change(_find(schedule, pipeline), _now_s())))


def _find(schedule: Schedule, pipeline: str) -> Entry:
    entry = schedule.find(pipeline)
    if entry is None:
        names = ", ".join(each.pipeline for each in schedule.entries)
        remedy = f"the scheduled ones are {names}" if names else "schedule it with `divisions schedule add FILE`"
        raise UsageError(f"the pipeline {pipeline} is not scheduled", remedy=remedy)
    return entry


def _show(pipeline: str, output: Format) -> None:
    import msgspec

    from divisions.schedule.state_file import read_schedule

    entry = read_schedule(_home()).find(pipeline)
    shown = msgspec.structs.replace(_empty(), entries=(entry,) if entry is not None else ())
    if output is Format.JSON:
        print_json({"schedules": as_json(shown, _now_s())})
    else:
        print("\n".join(render(shown, _now_s())))


def _empty() -> Schedule:
    from divisions.schedule.state import Schedule

    return Schedule()


def _print_done(value: object, text: str, output: Format) -> None:
    if output is Format.JSON:
        print_json(value)
    else:
        print(text)


def _home() -> Path:
    from divisions.settings import load_settings

    return load_settings().home


def _now_s() -> float:
    from divisions.clock import SystemClock

    return SystemClock().wall_s()
