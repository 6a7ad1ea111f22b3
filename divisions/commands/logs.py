"""``divisions logs``: what controller, gateways, replicas, rollouts, runs and deployments of this home say, by time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from divisions.commands.output import Format, Output, print_json_line
from divisions.errors import UsageError

if TYPE_CHECKING:
    from divisions.logs.files import HomeLogs
    from divisions.logs.lines import LogLine, Wanted

POLL_S = 0.5
_RUN_CHARACTERS = 4


def logs(
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on showing what comes.")] = False,
    rollout: Annotated[str, typer.Option(metavar="ENDPOINT", help="About the rollouts of one endpoint.")] = "",
    run: Annotated[str, typer.Option(metavar="ID", help="Of one training run, by the beginning of its id.")] = "",
    request: Annotated[str, typer.Option(metavar="ID", help="About one failed request, by its x-request-id.")] = "",
    deployment: Annotated[
        int | None, typer.Option(metavar="NUMBER", min=1, help="Of one deployment, and of its rollout meanwhile.")
    ] = None,
    level: Annotated[str, typer.Option(help="The least: debug, info, warning, error or critical.")] = "info",
    tail: Annotated[int, typer.Option("--tail", "-n", min=0, max=100_000, help="The newest so many.")] = 100,
    output: Output = Format.TEXT,
) -> None:
    """Show the logs of this home in the order of time, from all of its processes."""
    from divisions.logs.files import HomeLogs
    from divisions.settings import load_settings

    if len([each for each in (rollout, run, request, deployment) if each]) > 1:
        raise UsageError("one of --rollout, --run, --request, --deployment at a time", remedy="leave out the others")
    if run and (len(run) < _RUN_CHARACTERS or not run.isalnum()):
        raise UsageError(f"{run[:40]!r} names no run", remedy="write at least 4 characters of its id")
    home_logs = HomeLogs(load_settings().home, run)
    wanted = _wanted(home_logs, rollout, run, request, deployment, level)
    found = [line for line in home_logs.read() if wanted.takes(line)]
    _show(found[-tail:] if tail else [], output)
    if not found and not follow and output is Format.TEXT:
        print(
            "No such lines. Requests that failed with 5xx are logged, all others counted."
            if request
            else "No lines yet."
        )
    while follow:
        time.sleep(POLL_S)
        _show([line for line in home_logs.read() if wanted.takes(line)], output)


def _wanted(home_logs: HomeLogs, rollout: str, run: str, request: str, deployment: int | None, level: str) -> Wanted:
    from divisions.logs.lines import LEVELS, Wanted

    if level not in LEVELS:
        raise UsageError(f"there is no level {level[:40]!r}", remedy=f"write {', '.join(LEVELS)}")
    if deployment is None:
        return Wanted(rollout, run, request, level=level)
    found = next((each for each in home_logs.deployments() if each.number == deployment), None)
    if found is None:
        raise UsageError(f"there is no deployment {deployment}", remedy="see `divisions deployments`")
    until_s = found.ended_s if found.ended_s is not None else float("inf")
    return Wanted(found.endpoint, deployment=deployment, level=level, since_s=found.began_s, until_s=until_s)


def _show(lines: list[LogLine], output: Format) -> None:
    from divisions.logs.lines import as_json, rendered

    for line in lines:
        if output is Format.JSON:
            print_json_line(as_json(line))
        else:
            print(rendered(line), flush=True)
