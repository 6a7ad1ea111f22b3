"""``divisions data …``: what raw data hold, before any pipeline runs; and which versions have used them."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from divisions.commands.output import Format, Output, print_json, table
from divisions.errors import UsageError

if TYPE_CHECKING:
    from trainers.data.column_facts import ColumnFacts
    from trainers.data.description import Description

app = typer.Typer(help="Look at raw data, and who has used them.", no_args_is_help=True, rich_markup_mode=None)

HEADER = ("COLUMN", "KIND", "MISSING", "DISTINCT", "EXAMPLES", "MIN", "MEDIAN", "MAX", "WHY", "SUSPICION")
USED_BY_HEADER = ("MODEL", "VERSION", "STAGE", "VALIDATION", "PARTITION", "DATA", "RUN")


@app.command("describe")
def describe(
    input_uri: Annotated[
        str,
        typer.Argument(metavar="[INPUT]", help="A file, folder or s3://bucket/prefix; default: the file's input."),
    ] = "",
    pipeline: Annotated[
        Path | None, typer.Option("--pipeline", metavar="FILE", help="Take roles, kinds and format from it.")
    ] = None,
    today: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="The day of ${today}; the default is today, UTC.")
    ] = None,
    output: Output = Format.TEXT,
) -> None:
    """Show what an input holds, column by column, and the YAML that says so."""
    from trainers.data.describe_input import DescribeOptions, describe_input

    if not input_uri and pipeline is None:
        raise UsageError("nothing to describe", remedy="name an input, or --pipeline FILE")
    found = describe_input(DescribeOptions(input_uri, pipeline, today.date() if today else None))
    if output is Format.JSON:
        print_json(found)
    else:
        print(as_text(found))


@app.command("used-by")
def used_by(
    data: Annotated[
        str, typer.Argument(metavar="PARTITION", help="A partition, an input's address, or digits of its content hash.")
    ],
    output: Output = Format.TEXT,
) -> None:
    """List the versions that have learned from a partition, or were judged by it."""
    from divisions.commands.models import open_registry
    from divisions.lineage import used_by as find

    versions = find(open_registry().list_versions(), data)
    if output is Format.JSON:
        print_json({"versions": versions})
        return
    rows = [
        (
            version.model,
            version.version,
            ", ".join(version.aliases) or ("archived" if version.is_archived else "-"),
            str(version.validation_status),
            version.lineage.get("partition", "-"),
            version.lineage.get("data_sha256", "-")[:_SHOWN_DIGEST],
            version.run_id,
        )
        for version in versions
    ]
    print(table(USED_BY_HEADER, rows) if rows else f"No version has used {data}.")


_SHOWN_DIGEST = 16


def as_text(found: Description) -> str:
    """The description for people."""
    bad = f", {found.bad_rows:,} of them unreadable" if found.bad_rows else ""
    lines = [f"{found.uri}: {found.rows:,} rows{bad}", *(f"  {line}" for line in found.files)]
    if "entity" in found.roles:
        lines.append(f"Entity: {_name(found.roles['entity'])}, about {found.entities:,} different")
    if "event_time" in found.roles:
        span = f"from {found.first} to {found.last}" if found.first else "no time can be read"
        unread = f", {found.unreadable_times:,} unreadable" if found.unreadable_times and found.first else ""
        lines.append(f"Event time: {_name(found.roles['event_time'])}, {span}{unread}")
    if "label" in found.roles:
        rate = "no value is a label" if found.positive_rate is None else f"{100 * found.positive_rate:.3g} % positive"
        without = f", {found.unlabelled:,} rows without one" if found.unlabelled else ""
        lines.append(f"Label: {_name(found.roles['label'])}, {rate}{without}")
    lines += ["", table(HEADER, [_row(column, found.rows - found.bad_rows) for column in found.columns]), ""]
    lines += [f"note: {note}" for note in found.notes]
    lines += [""] if found.notes else []
    return "\n".join([*lines, found.features_yaml.rstrip("\n")])


def _row(column: ColumnFacts, rows: int) -> tuple[str, ...]:
    share = f" ({100 * column.missing / rows:.2g} %)" if column.missing and rows else ""
    about = "~" if column.distinct > _EXACT else ""
    numbers = (column.minimum, column.median, column.maximum)
    return (
        _name(column.name),
        column.kind,
        f"{column.missing:,}{share}",
        f"{about}{column.distinct:,}",
        ", ".join(column.examples),
        *("" if number is None else f"{number:.6g}" for number in numbers),
        column.why,
        column.suspicion,
    )


_EXACT = 20
"""Up to here, the estimate of how many values differ is exact."""


def _name(name: str) -> str:
    from trainers.data.column_facts import visible

    return visible(name, max_chars=60)
