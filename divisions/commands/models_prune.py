"""``divisions models prune``: removes old versions that nobody serves or could go back to."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from divisions.commands.output import Format, Output, age, print_json, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from divisions.versions import RegisteredVersion

HEADER = ("MODEL", "VERSION", "VALIDATION", "AGE", "BUNDLE")


def prune(
    keep: Annotated[int, typer.Option(min=1, help="Keep the newest versions of each model.")] = 10,
    older_than: Annotated[
        str, typer.Option(metavar="DURATION", help="Remove only what is older, such as 90d or 12h.")
    ] = "0s",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be removed.")] = False,
    output: Output = Format.TEXT,
) -> int:
    """Remove old versions with their bundles.

    What is served or could be rolled back to stays, and so does what has an alias or is newer than what is in use. Runs
    stay, too, with their reports. The exit status is 1 when something could not be removed.
    """
    from deploy import retention
    from divisions.clock import SystemClock
    from divisions.commands.models import open_registry
    from divisions.errors import PipelineError, UsageError
    from divisions.pipeline.resources import parse_duration_s
    from divisions.retention import Retention
    from divisions.settings import load_settings

    try:
        asked = Retention(keep, parse_duration_s(older_than))
    except PipelineError as error:
        raise UsageError(f"--older-than: {error.message}", remedy="give a number and ms, s, m, h or d") from None
    settings, registry, clock = load_settings(), open_registry(), SystemClock()
    if dry_run:
        found = retention.planned(settings, registry, asked, clock)
        _print(found.removed, dict(found.kept), (), clock.wall_s(), output, is_done=False)
        return 0
    done = retention.prune(settings, registry, asked, clock)
    _print(done.removed, done.kept, done.notes, clock.wall_s(), output, is_done=True)
    return 1 if done.notes else 0


def _print(
    removed: Sequence[RegisteredVersion],
    kept: dict[str, int],
    notes: Sequence[str],
    now_s: float,
    output: Format,
    *,
    is_done: bool,
) -> None:
    if output is Format.JSON:
        print_json({"removed": removed, "kept": kept, "notes": notes, "is_done": is_done})
        return
    if removed:
        rows = [
            (
                one.model,
                one.version,
                str(one.validation_status),
                age(now_s - one.created_at_s),
                one.bundle_sha256[:16],
            )
            for one in removed
        ]
        print(table(HEADER, rows) + "\n")
    verb = "removed" if is_done else "would be removed"
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in sorted(kept.items()))
    print(f"{len(removed):,} {verb}, {sum(kept.values()):,} stay" + (f" ({reasons})" if reasons else ""))
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
