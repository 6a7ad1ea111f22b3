"""``divisions journal …``: looks at the controller's journal and its copies, and puts one back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from divisions.commands.output import Format, Output, print_json
from divisions.errors import ClusterError

if TYPE_CHECKING:
    from router.journal.copies import Found

EXIT_DAMAGED = 1

app = typer.Typer(help="Check the controller's journal, or restore it.", no_args_is_help=True, rich_markup_mode=None)


@app.command("check")
def check(output: Output = Format.TEXT) -> int:
    """Check every row of the journal and of its copies; exit status 1 if the journal is damaged."""
    from divisions.settings import load_settings
    from router.journal import copies as journal_copies
    from router.journal.opening import database_of

    found = journal_copies.check(database_of(load_settings()))
    if output is Format.JSON:
        print_json([_document(each) for each in found])
    else:
        for each in found:
            print(_line(each))
        if len(found) == 1:
            print("no copies yet: the controller makes one within half a minute after every entry")
    return EXIT_DAMAGED if found[0].fault else 0


@app.command("restore")
def restore(
    copy: Annotated[
        Path | None, typer.Argument(help="Which copy; the default is the whole one with the most writes.")
    ] = None,
    output: Output = Format.TEXT,
) -> None:
    """Put a whole copy in the journal's place. The cluster must be down; the damaged files are kept."""
    from deploy.supervision.cluster_file import require_down
    from divisions.clock import SystemClock
    from divisions.settings import load_settings
    from router.journal import copies as journal_copies
    from router.journal.opening import database_of

    settings = load_settings()
    home = settings.home
    require_down(home)
    if copy is not None and not copy.exists():
        raise ClusterError(f"there is no copy {copy}", remedy="`divisions journal check` lists the copies")
    aside = home / f"journal-damaged-{SystemClock().wall_s():.0f}"
    chosen = journal_copies.restore(database_of(settings), aside, copy)
    if output is Format.JSON:
        print_json({**_document(chosen), "aside": str(aside)})
        return
    print(f"restored {chosen.path}, {chosen.writes:,} writes; what was there is in {aside}")
    print("look at `divisions status` after `divisions up`: a rollout may be at an earlier step than it was")


def _line(found: Found) -> str:
    state = f"damaged: {found.fault}" if found.fault else f"whole, {found.writes:,} writes"
    return f"{found.path}: {state}"


def _document(found: Found) -> dict[str, object]:
    return {"path": str(found.path), "writes": found.writes, "fault": found.fault}
