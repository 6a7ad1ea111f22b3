"""``divisions outcomes …``: what became of the customers whose predictions were logged."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from divisions.commands.default_pipeline import PIPELINE, require_pipeline
from divisions.commands.output import Format, Output, print_json, table

if TYPE_CHECKING:
    from divisions.outcomes import OutcomesReport, Quality
    from divisions.pipeline.definition import Pipeline
    from divisions.settings import Settings
    from trainers.outcomes.labels import Outcome, ReadLabels
    from trainers.outcomes.store import Added

app = typer.Typer(
    help="Join outcomes with the prediction log, and see how well versions do.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


class By(enum.StrEnum):
    """What an outcome is of."""

    CUSTOMER = "customer"
    REQUEST = "request"


class Period(enum.StrEnum):
    """What the report is cut by."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"


HEADER = ("VERSION", "PERIOD", "OUTCOMES", "POSITIVE", "AUC", "95 %", "CALIBRATION ERROR", "95 %")
PipelineFile = Annotated[Path, typer.Option("--pipeline", metavar="FILE", help="Of the endpoint.")]
PeriodOption = Annotated[Period, typer.Option(help="Cut the report by day, week or month.")]


@app.command("add")
def add(
    labels: Annotated[str, typer.Argument(metavar="FILE", help="CSV, Parquet or JSON lines: a file, folder or s3://…")],
    pipeline: PipelineFile = PIPELINE,
    by: Annotated[By, typer.Option(help="What the ids are.")] = By.CUSTOMER,
    id_column: Annotated[str, typer.Option("--id", help="Column of the ids; default: the entity, or request_id.")] = "",
    label_column: Annotated[str, typer.Option("--label", help="Column of the outcome; default: the label.")] = "",
    time_column: Annotated[str, typer.Option("--time", help="Column of the outcome's time; default: none.")] = "",
    replace: Annotated[bool, typer.Option(help="Let outcomes replace those that say the opposite.")] = False,
    period: PeriodOption = Period.MONTH,
    output: Output = Format.TEXT,
) -> None:
    """Add outcomes, and show how well the versions did. Adding a file again changes nothing."""
    from divisions.errors import InputError
    from divisions.pipeline.file import load_pipeline
    from divisions.settings import load_settings
    from trainers.outcomes.labels import Columns, read_labels
    from trainers.outcomes.store import OutcomeStore

    settings, definition = load_settings(), load_pipeline(require_pipeline(pipeline))
    logged = definition.features.entity if by is By.CUSTOMER else "request_id"
    label = label_column or definition.label
    found = read_labels(
        labels,
        Columns(id_column or logged, label, time_column),
        definition.features.label,
        s3=settings.s3,
        allow_buckets=settings.allow_buckets,
        form=definition.data_prep.format,
    )
    if found.rows and not found.outcomes:
        faults = ", ".join(line.strip() for line in _faults(found))
        remedy = "name its columns with --id, --label and --time"
        if found.without_time:
            remedy += "; a time is ISO 8601, seconds since 1970, or as data_prep.format.event_time_format says"
        raise InputError(f"no row of {labels} can be used: {faults}", remedy=remedy)
    outcomes = hidden(found.outcomes, definition, logged, settings)
    store = OutcomeStore(settings.home, definition.deployment.endpoint)
    added = store.add("entity" if by is By.CUSTOMER else "request", outcomes, is_replacing=replace)
    report = _report(settings, definition, period)
    if output is Format.JSON:
        import dataclasses

        read = {name: value for name, value in dataclasses.asdict(found).items() if name != "outcomes"}
        print_json({"read": read, "added": dataclasses.asdict(added), "report": report})
        return
    print("\n".join([*_read_lines(labels, found, added), "", *render(report)]))


@app.command("show")
def show(
    pipeline: PipelineFile = PIPELINE,
    period: PeriodOption = Period.MONTH,
    output: Output = Format.TEXT,
) -> None:
    """Show AUC and calibration of each version, on customers whose outcome is known."""
    from divisions.pipeline.file import load_pipeline
    from divisions.settings import load_settings

    report = _report(load_settings(), load_pipeline(require_pipeline(pipeline)), period)
    if output is Format.JSON:
        print_json({"report": report})
    else:
        print("\n".join(render(report)))


def hidden(outcomes: tuple[Outcome, ...], pipeline: Pipeline, name: str, settings: Settings) -> tuple[Outcome, ...]:
    """The outcomes with their ids as the log has them: hashed, if its policy says so.

    Raises:
        UsageError: the log does not have these ids.
    """
    from dataclasses import replace

    from divisions.errors import UsageError, reason_of
    from divisions.prediction_log import LogPolicy, hash_key, pseudonym

    policy = pipeline.serving.log or LogPolicy()
    if name in policy.leave_out:
        raise UsageError(
            f"serving.log leaves out {name!r}, so no outcome can be joined by it",
            remedy="hash it in place of leaving it out, or choose another --by",
        )
    if name not in policy.hash:
        return outcomes
    try:
        key = hash_key((settings.home / "channel_token").read_bytes().strip())
    except OSError as error:
        raise UsageError(
            f"the key of the log's hashes cannot be read: {reason_of(error)}",
            remedy="run this on a machine of the cluster",
        ) from None
    return tuple(replace(each, id=pseudonym(key, each.id)) for each in outcomes)


def _report(settings: Settings, pipeline: Pipeline, period: Period) -> OutcomesReport:
    from divisions.clock import SystemClock
    from trainers.outcomes.report import report
    from trainers.outcomes.tell import tell

    clock = SystemClock()
    return tell(report(settings, pipeline, period.value, clock.wall_s()), settings, clock)


def _faults(found: ReadLabels) -> list[str]:
    """What of a file is not used, and why."""
    counts = (
        (found.unreadable, "could not be read"),
        (found.without_id, "have no id"),
        (found.without_label, "have no outcome"),
        (found.without_time, "have no time that can be read"),
        (found.repeated, "repeat an id"),
    )
    lines = [f"  {count:,} {what}" for count, what in counts if count]
    if found.conflicting:
        lines.append(f"  {found.conflicting:,} ids have both outcomes, and are left out")
    return lines


def _read_lines(file: str, found: ReadLabels, added: Added) -> list[str]:
    lines = [f"{file}: {found.rows:,} rows", *_faults(found)]
    lines.append(f"Added {added.new:,} outcomes; {added.known:,} were known")
    if added.replaced:
        lines.append(f"  {added.replaced:,} replace one that said the opposite")
    if added.refused:
        lines.append(f"  {added.refused:,} say the opposite of a known one, which stays (--replace takes the new one)")
    return [*lines, *(f"note: {note}" for note in found.notes)]


def render(report: OutcomesReport) -> list[str]:
    """The report for people."""
    lines = [f"{report.endpoint}: {report.joined:,} of {report.labels:,} outcomes belong to a logged prediction"]
    counts = (
        (report.unknown, "belong to none: not in the sample, or unknown"),
        (report.early, "came before the prediction, and say nothing of it"),
        (report.ambiguous, "name a request of several rows"),
    )
    lines += [f"  {count:,} {what}" for count, what in counts if count]
    rows = [_row(each) for each in (*report.versions, *report.periods)]
    if rows:
        lines += ["", table(HEADER, rows)]
    for alert in report.alerts:
        lines.append(
            f"ALERT: the AUC of version {alert.version} is below the gate of {alert.gate:g}: at most"
            f" {alert.worst_case:.4f}, by {alert.labels:,} outcomes"
        )
    return lines


def _row(found: Quality) -> tuple[str, ...]:
    calibration = (found.calibration_error, found.calibration_lower, found.calibration_upper)
    return (
        found.version,
        found.period or "all",
        f"{found.predictions:,}",
        f"{found.positives:,}",
        *_interval(found.auc, found.lower, found.upper),
        *_interval(*calibration),
    )


def _interval(value: float | None, low: float | None, high: float | None) -> tuple[str, str]:
    if value is None or low is None or high is None:
        return "too few", "-"
    return f"{value:.4f}", f"{low:.4f} to {high:.4f}"
