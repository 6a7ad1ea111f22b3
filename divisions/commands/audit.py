"""``divisions audit …``: who did what on the cluster of this home."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from divisions.commands.output import Format, Output, print_json, table

if TYPE_CHECKING:
    from divisions.access.audit import AuditLine, Verified

app = typer.Typer(help="Who did what: the audit log of this home.", no_args_is_help=True, rich_markup_mode=None)


@app.command("list")
def list_lines(
    who: Annotated[str, typer.Option("--who", help="Of one principal only.")] = "",
    subject: Annotated[str, typer.Option("--subject", help="About one endpoint, or one principal's token.")] = "",
    limit: Annotated[int, typer.Option("--limit", min=1, help="The newest so many.")] = 50,
    output: Output = Format.TEXT,
) -> None:
    """Show the newest lines, oldest first."""
    from divisions.access.audit import chosen

    lines = chosen(_read().lines, who, subject, limit)
    if output is Format.JSON:
        print_json(lines)
    else:
        print(render(lines))


@app.command("verify")
def verify(output: Output = Format.TEXT) -> int:
    """Check that no line was changed, removed or added. The exit status is 1 if one was."""
    found = _read()
    if output is Format.JSON:
        print_json({"lines": len(found.lines), "fault": found.fault, "is_cut_off": found.is_cut_off})
    elif found.fault:
        print(f"damaged: {found.fault}; {len(found.lines)} lines before it are as they were written")
    else:
        cut = "; the writer of one more was killed" if found.is_cut_off else ""
        print(f"{len(found.lines)} lines are as they were written{cut}")
    return 1 if found.fault else 0


def render(lines: list[AuditLine]) -> str:
    """The lines as a table."""
    from datetime import UTC, datetime

    if not lines:
        return "nobody has asked for anything"
    header = ("TIME (UTC)", "WHO", "ROLE", "FROM", "ACTION", "ON", "OUTCOME", "BEFORE", "AFTER")
    rows = [
        (
            datetime.fromtimestamp(line.event.at_s, UTC).strftime("%Y-%m-%d %H:%M:%S"),
            line.event.who,
            line.event.role,
            line.event.address or "inside",
            line.event.action,
            line.event.subject,
            f"{line.event.outcome}: {line.event.reason}" if line.event.reason else line.event.outcome,
            line.event.before,
            line.event.after,
        )
        for line in lines
    ]
    return table(header, rows)


def _read() -> Verified:
    from divisions.access.audit_file import AuditFile
    from divisions.settings import load_settings

    return AuditFile(load_settings().home).read()
