"""Which rows can be used, decided by the engine over all rows at once: each gets a reason, or none.

    every row -> judged(id, entity, happened, label, reason) -> without clashes -> picked(id, entity, happened, label)

Only the entity, the event time and the label decide. A value of another column that does not fit its kind costs that
value, not the row. Two rows with the same entity and event time are one event: the first counts, and the others are
duplicates. If their labels contradict each other, none of them can be used.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainers.data.engine import first_row, text_literal
from trainers.data.event_times import event_time, hint
from trainers.data.staging import RowGroup

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from divisions.pipeline.definition import Features

UNKNOWN_LABEL_DETAIL = "neither yes/no, true/false nor 1/0"


@dataclass(frozen=True, slots=True)
class FlawedRow:
    """A row with a reason. ``raw`` is the row as JSON."""

    id: int
    reason: str
    detail: str
    raw: str


@dataclass(frozen=True, slots=True)
class LabelRates:
    """The share of positive labels: of all rows with a label, and of the usable ones."""

    num_lost: int
    before: float
    after: float

    @property
    def shift(self) -> float:
        return self.after - self.before


@dataclass(frozen=True, slots=True)
class RowChecks:
    """The checks of one input. `judge` comes first; the others read what it wrote."""

    connection: DuckDBPyConnection
    groups: Sequence[RowGroup]
    features: Features
    label: str
    time_formats: Sequence[str] = ()

    @property
    def reasons(self) -> tuple[str, ...]:
        """By their number in the table; 0 is none. A row has the first that applies."""
        entity, time, label = self.features.entity, self.features.event_time, self.label
        return (
            "",
            "unparsable line",
            f"null {entity}",
            f"unreadable {time}",
            f"future {time}",
            f"null {label}",
            f"unknown {label}",
            "conflicting label",
            "duplicate event",
        )

    def judge(self, now: dt.datetime | None) -> None:
        """Writes the tables ``judged`` and ``clashes``. A time after ``now`` is no time that can be meant."""
        selects = " UNION ALL ".join(self._judged(group, now) for group in self.groups)
        self.connection.execute(f"CREATE TEMP TABLE judged AS {selects}")
        # Equal rows have equal hashes, and few others do: only those are compared in full.
        self.connection.execute(
            "CREATE TEMP TABLE suspects AS"
            " SELECT h FROM (SELECT hash(entity, happened) AS h FROM judged WHERE reason = 0)"
            " GROUP BY h HAVING count(*) > 1"
        )
        self.connection.execute(
            "CREATE TEMP TABLE clashes AS WITH same AS ("
            " SELECT entity, happened, min(id) AS first, min(label) <> max(label) AS is_conflict FROM judged"
            " WHERE reason = 0 AND hash(entity, happened) IN (SELECT h FROM suspects)"
            " GROUP BY entity, happened HAVING count(*) > 1)"
            " SELECT id, CASE WHEN is_conflict THEN 7 ELSE 8 END AS reason"
            " FROM judged JOIN same USING (entity, happened) WHERE judged.reason = 0 AND (is_conflict OR id <> first)"
        )

    def count(self) -> dict[str, int]:
        """Flawed rows by reason."""
        rows = self.connection.execute(
            "SELECT reason, count(*) FROM (SELECT reason FROM judged WHERE reason > 0"
            " UNION ALL SELECT reason FROM clashes) GROUP BY reason"
        ).fetchall()
        return {self.reasons[reason]: count for reason, count in rows}

    def first_flawed(self) -> FlawedRow | None:
        """The first flawed row, if there is any."""
        (number,) = first_row(
            self.connection,
            "SELECT min(id) FROM (SELECT id FROM judged WHERE reason > 0 UNION ALL SELECT id FROM clashes)",
        )
        return None if number is None else self.flawed(f"WHERE id = {number}")[0]

    def flawed(self, where: str = "") -> list[FlawedRow]:
        """All flawed rows, or some of them, in order."""
        found: list[FlawedRow] = []
        for group in self.groups:
            raw = ", ".join(f"{text_literal(name)}, {column.raw}" for name, column in group.columns.items())
            time = group.columns[self.features.event_time].text
            rows = self.connection.execute(
                "WITH bad AS (SELECT id AS bad_id, reason FROM judged WHERE reason > 0"
                " UNION ALL SELECT id, reason FROM clashes)"
                f" SELECT id, reason, coalesce(flaw, ''), {time}, json_object({raw})::VARCHAR"
                f" FROM {group.relation} JOIN bad ON bad_id = id {where} ORDER BY id"
            ).fetchall()
            found += [
                FlawedRow(number, self.reasons[reason], self._detail(reason, flaw, time), raw)
                for number, reason, flaw, time, raw in rows
            ]
        return sorted(found, key=lambda row: row.id)

    def pick(self, as_of: dt.datetime | None, *, is_latest_only: bool) -> int:
        """Writes the table ``picked``: the usable rows, or the latest of each entity.

        Args:
            as_of: later events are left out, as if they had not happened yet; None takes all.
            is_latest_only: one row for each entity.

        Returns:
            how many usable rows are later than ``as_of``.
        """
        usable = "judged.reason = 0 AND id NOT IN (SELECT id FROM clashes)"
        seen = f"{usable} AND happened <= {_timestamp(as_of)}" if as_of is not None else usable
        if is_latest_only:
            query = (
                "SELECT entity, best.id AS id, best.label AS label, happened"
                " FROM (SELECT entity, max(happened) AS happened,"
                f" arg_max({{'id': id, 'label': label}}, happened) AS best FROM judged WHERE {seen} GROUP BY entity)"
            )
        else:
            query = f"SELECT entity, id, label, happened FROM judged WHERE {seen}"
        self.connection.execute(f"CREATE TEMP TABLE picked AS {query}")
        if as_of is None:
            return 0
        later = f"SELECT count(*) FROM judged WHERE {usable} AND happened > {_timestamp(as_of)}"
        (count,) = first_row(self.connection, later)
        return int(count)

    def label_rates(self) -> LabelRates | None:
        """How the quarantine moved the share of positive labels; None where no row with a label was lost."""
        num_lost, before, after = first_row(
            self.connection,
            "SELECT count(*) FILTER (WHERE is_lost), avg(label), avg(label) FILTER (WHERE NOT is_lost) FROM ("
            " SELECT label, reason > 0 OR id IN (SELECT id FROM clashes WHERE reason = 7) AS is_lost FROM judged"
            " WHERE label IS NOT NULL AND id NOT IN (SELECT id FROM clashes WHERE reason = 8))",
        )
        return LabelRates(num_lost, before, after) if num_lost and after is not None else None

    def _judged(self, group: RowGroup, now: dt.datetime | None) -> str:
        columns, features = group.columns, self.features
        label = columns[self.label]
        at = event_time(columns[features.event_time], self.time_formats)
        future = f"WHEN happened > {_timestamp(now)} THEN 4" if now is not None else ""
        return (
            "SELECT id, entity, happened, label::UTINYINT AS label, (CASE WHEN flaw IS NOT NULL THEN 1"
            f" WHEN entity IS NULL THEN 2 WHEN happened IS NULL THEN 3 {future}"
            " WHEN NOT has_label THEN 5 WHEN label IS NULL THEN 6 ELSE 0 END)::UTINYINT AS reason"
            f" FROM (SELECT id, flaw, {columns[features.entity].identifier} AS entity, {at} AS happened,"
            f" {label.label} AS label, {label.is_present} AS has_label FROM {group.relation})"
        )

    def _detail(self, reason: int, flaw: str, time: str | None) -> str:
        match reason:
            case 1:
                return flaw
            case 3:
                return hint(time or "")
            case 4:
                return "a time in the future"
            case 6:
                return UNKNOWN_LABEL_DETAIL
        return ""


def _timestamp(moment: dt.datetime) -> str:
    return f"TIMESTAMP '{moment.astimezone(dt.UTC):%Y-%m-%d %H:%M:%S.%f}'"
