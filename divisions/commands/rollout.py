"""``divisions rollout …`` and ``divisions rollback``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from divisions.commands.connection import connect
from divisions.commands.default_pipeline import PIPELINE, require_pipeline
from divisions.commands.output import Format, Output, is_terminal, print_json, print_json_line, redraw
from divisions.commands.pods import scale_pods
from divisions.commands.streams import tells_if_interrupted
from divisions.commands.targets import TARGETS
from divisions.errors import UnknownVersionError, UsageError

if TYPE_CHECKING:
    from divisions.control import Faults
    from divisions.sdk.client import Client
    from divisions.status import RolloutStatus

EXIT_ROLLED_BACK, EXIT_HELD = 1, 4

app = typer.Typer(help="Start, watch and steer rollouts.", no_args_is_help=True, rich_markup_mode=None)

Name = Annotated[str, typer.Argument(metavar="MODEL_OR_ENDPOINT", help="The model, or the endpoint it serves.")]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why, for the history and the audit log.")]


@app.command("start")
def start(
    model: Annotated[str, typer.Argument(help="The registered model.")],
    version: Annotated[str, typer.Option("--version", help="A version, a registry number, or an alias.")],
    pipeline: Annotated[Path, typer.Option(help="The pipeline file: how to serve and judge.")] = PIPELINE,
    fault: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="Inject batch_delay_ms, error_rate, nan_rate, hang_after or crash_after; needs `up --allow-faults`.",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Even if this very rollout was rolled back before.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Stay and show it to its end.")] = False,
    output: Output = Format.TEXT,
) -> int:
    """Roll out a registered version."""
    from deploy.rollout_start import start_version
    from divisions.pipeline.file import load_pipeline
    from divisions.registry import Registry
    from divisions.settings import load_settings

    faults = parse_faults(fault or [])
    definition = load_pipeline(require_pipeline(pipeline))
    settings = load_settings()
    registered = Registry(settings.home, settings.tracking_uri).get_version(model, version)
    with connect() as client:
        status, notices = start_version(client, settings, definition, registered, faults=faults, force=force)
    for notice in notices:
        typer.echo(f"note: {notice}", err=True)
    if watch:
        return watch_to_end(model, output)
    _show(status, output)
    return 0


@app.command("status")
def status(name: Name, output: Output = Format.TEXT) -> None:
    """Show the present state of a rollout."""
    with connect() as client:
        _show(_find(client, name), output)


@app.command("watch")
def watch(
    name: Name,
    stop_at_hold: Annotated[
        bool, typer.Option("--stop-at-hold", help="End with exit status 4 when it is held, and waits for somebody.")
    ] = False,
    output: Output = Format.TEXT,
) -> int:
    """Show a rollout until it ends. The exit status is 1 when it was rolled back."""
    return watch_to_end(name, output, stops_at_hold=stop_at_hold)


@app.command("pause")
def pause(name: Name, output: Output = Format.TEXT) -> None:
    """Hold the present weight; guards stay active."""
    with connect() as client:
        _show(client.rollout(_find(client, name).endpoint).pause(), output)


@app.command("resume")
def resume(name: Name, output: Output = Format.TEXT) -> None:
    """Continue after a pause or a hold."""
    with connect() as client:
        _show(client.rollout(_find(client, name).endpoint).resume(), output)


@app.command("promote")
def promote(
    name: Name,
    break_glass: Annotated[
        str, typer.Option("--break-glass", metavar="REASON", help="Without approvals and the policy; why is audited.")
    ] = "",
    output: Output = Format.TEXT,
) -> None:
    """Give the canary all traffic now, without the remaining steps."""
    with connect() as client:
        _show(client.rollout(_find(client, name).endpoint).promote(break_glass=break_glass), output)


@app.command("abort")
def abort(name: Name, reason: Reason = "", output: Output = Format.TEXT) -> None:
    """Take all traffic away from the canary."""
    with connect() as client:
        _show(client.rollout(_find(client, name).endpoint).abort(reason=reason), output)


def rollback(
    name: Name,
    to: Annotated[
        str | None, typer.Option(metavar="VERSION", help="The default is the one that served before.")
    ] = None,
    reason: Reason = "",
    output: Output = Format.TEXT,
) -> None:
    """Go back to an earlier version."""
    with connect() as client:
        _show(client.rollout(_find(client, name).endpoint).rollback(to, reason=reason), output)


def scale(
    name: Name,
    replicas: Annotated[int, typer.Option("--replicas", help="Of each version.")],
    version: Annotated[
        str | None, typer.Option(metavar="VERSION", help="The default is every version that the endpoint runs.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Even if the cluster has no room now: it adds nodes by itself.")
    ] = False,
    target: Annotated[
        str, typer.Option(help="A target of kind kubernetes: the pods of a group, in place of replicas.")
    ] = "",
    targets: Annotated[Path, typer.Option(help="The file of targets.")] = TARGETS,
    output: Output = Format.TEXT,
) -> None:
    """Set the number of replicas, or of the pods that a group of a target has."""
    if target:
        scale_pods(targets, target, name, replicas, output)
        return
    with connect() as client:
        status = client.rollout(_find(client, name).endpoint).scale(replicas, version=version, force=force)
        _show(status, output)


def watch_to_end(name: str, output: Format, *, stops_at_hold: bool = False) -> int:
    """Shows a rollout until it ends, or is held; returns the exit status. A held one waits for an operator, who is told
    how it goes on."""
    from divisions.clock import SystemClock
    from divisions.commands.rollout_view import HELD, render_rollout, ways_on
    from divisions.sdk.calls import RESTART_PATIENCE

    clock = SystemClock()
    last, line, was_held = None, "", False
    goes_on = f"the rollout goes on without you; `divisions rollout watch {name}` shows it again"
    with connect() as client, tells_if_interrupted(goes_on):
        for last in client.rollout(_find(client, name).endpoint).watch(patience=RESTART_PATIENCE):
            if output is Format.JSON:
                print_json_line(last)
            elif is_terminal():
                redraw(render_rollout(last, clock.wall_s()))
            elif (changed := _line(last)) != line:  # the status may differ in a number that the line does not show
                line = changed
                print(line, flush=True)
            is_held = last.phase == HELD
            if is_held and stops_at_hold:
                return EXIT_HELD
            if is_held and not was_held and not is_terminal():  # the picture of a terminal says so itself
                typer.echo(
                    f"note: it is held, and waits for you: {ways_on(last)}; Ctrl-C ends the watching only", err=True
                )
            was_held = is_held
    return EXIT_ROLLED_BACK if last is not None and last.phase == "ROLLED_BACK" else 0


def parse_faults(texts: list[str]) -> Faults | None:
    """Faults from ``["batch_delay_ms=10"]``; None from an empty list.

    Raises:
        UsageError: a name is unknown, or a value is not a number, or a number of batches is not whole.
    """
    import msgspec

    from divisions.control import Faults

    values: dict[str, str] = {}
    known = Faults.__struct_fields__
    for text in texts:
        name, _, number = text.partition("=")
        if name not in known or re.fullmatch(r"[0-9]+(\.[0-9]+)?", number) is None:
            raise UsageError(f"--fault {text!r} is not NAME=NUMBER", remedy=f"names are {', '.join(known)}")
        values[name] = number
    try:
        return msgspec.convert(values, Faults, strict=False) if values else None
    except msgspec.ValidationError as error:
        raise UsageError(f"--fault: {error}", remedy="batches are counted in whole numbers") from None


def _find(client: Client, name: str) -> RolloutStatus:
    """The latest rollout of an endpoint or a model with this name."""
    rollouts = client.rollouts()
    for rollout in rollouts:
        if name in {rollout.endpoint, rollout.model}:
            return rollout
    known = ", ".join(sorted({rollout.endpoint for rollout in rollouts}))
    raise UnknownVersionError(
        f"no rollout of {name!r}", remedy=f"there are rollouts of {known}" if known else "nothing was rolled out yet"
    )


def _show(status: RolloutStatus, output: Format) -> None:
    from divisions.clock import SystemClock
    from divisions.commands.rollout_view import render_rollout

    if output is Format.JSON:
        print_json(status)
    else:
        print(render_rollout(status, SystemClock().wall_s()))


def _line(status: RolloutStatus) -> str:
    """One line of a log."""
    from divisions.commands.output import percent

    weight = f"{percent(status.actual_weight_bp)} of {status.endpoint} to {status.canary_version}"
    return f"{status.phase:<12} {weight}: {status.rollback_reason or status.message}".rstrip(": ")
