"""Which rows can be used, decided by the engine over all rows at once: each gets a reason, or none.

    every row -> judged(id, entity, happened, clash, label, reason)
              -> picked(id, entity, happened, label, is_training, is_newest)

Only the entity, the event time and the label decide. A value of another column that does not fit its kind costs that
value, not the row. Two rows with the same entity and event time are one event: the first with a label counts, else the
first, and the others are duplicates. If their labels contradict each other, none of them is learned from.

Labels choose what is learned from, not who is served. So two sets of rows are picked:

    training    the latest event with a label, of each entity that has one
    newest      the latest event of each entity, whatever its label: missing, of unknown words, or contradicted
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from divisions.pipeline.feature_options import parse_constant
from trainers.data.arrow_arrays import array_of
from trainers.data.engine import first_row, text_literal
from trainers.data.event_copies import find_copies
from trainers.data.event_times import HINT, event_time, register_hint
from trainers.data.file_formats import FileKind
from trainers.data.labels import LabelCounts, label_value
from trainers.data.original_rows import load_originals
from trainers.data.picked_rows import choose
from trainers.data.raw_columns import Form, RawColumn, list_literal
from trainers.data.row_groups import RowGroup
from trainers.data.working_folder import working_folder

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from divisions.pipeline.definition import Features
    from divisions.schema import FeatureKind
    from trainers.features.event_columns import ColumnSql, EventColumns

_UNKNOWN_LABEL, _CONFLICT, _DUPLICATE = 5, 6, 7
_FIRST, _OTHER = 1, 2
"""A row's ``clash`` with others of its entity and time; 0 is none. The first one may still be served."""
_IS_SERVED = f"reason IN (0, {_UNKNOWN_LABEL})"
_MAX_SORTED = 1 << 24
"""Hashes that are in memory at a time: 128 MiB."""


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
class Picked:
    """How many rows were picked.

    Attributes:
        num_training: rows to learn from.
        num_newest: entities, each with its newest row.
        num_unlabelled: entities without any label.
        num_later: events that are left out because they happened later.
    """

    num_training: int
    num_newest: int
    num_unlabelled: int
    num_later: int


@dataclass(frozen=True, slots=True)
class RowChecks:
    """The checks of one input. `judge` comes first; the others read what it wrote."""

    connection: DuckDBPyConnection
    groups: Sequence[RowGroup]
    features: Features
    label: str
    time_formats: Sequence[str] = ()
    is_log: bool = False
    """An entity may have several events at one time. Only rows that are equal in every column are duplicates."""

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
            f"unknown {label}",
            "conflicting label",
            "duplicate event",
        )

    def judge(self, now: dt.datetime | None) -> None:
        """Writes the tables ``judged`` and ``clashes``. A time after ``now`` is no time that can be meant."""
        selects = " UNION ALL ".join(self._judged(group, now) for group in self.groups)
        self.connection.execute(f"CREATE TEMP TABLE judged AS {selects}")
        self._find_suspects()
        if self.is_log:
            roles = (self.features.entity, self.features.event_time)
            find_copies(self.connection, self.groups, roles, _IS_SERVED, conflict=_CONFLICT, duplicate=_DUPLICATE)
        else:
            self._find_clashes()
        self.connection.execute("DROP TABLE alike")
        self.connection.execute(
            f"UPDATE judged SET clash = CASE WHEN is_first THEN {_FIRST} ELSE {_OTHER} END"
            " FROM clashes WHERE clashes.id = judged.id"
        )

    def _find_clashes(self) -> None:
        is_suspect = f"{_IS_SERVED} AND hash(entity, happened) IN (SELECT h FROM suspects)"
        self.connection.execute(f"CREATE TEMP TABLE alike AS FROM judged WHERE {is_suspect}")
        # Rows of one entity and time. Those of an unknown label have their reason already; here they get none.
        self.connection.execute(
            "CREATE TEMP TABLE clashes AS WITH same AS ("
            " SELECT entity, happened, coalesce(min(id) FILTER (WHERE label IS NOT NULL),"
            " min(id) FILTER (WHERE reason = 0), min(id)) AS first,"
            " coalesce(min(label) <> max(label), false) AS is_conflict FROM alike"
            " GROUP BY entity, happened HAVING count(*) > 1)"
            f" SELECT id, id = first AS is_first, CASE WHEN alike.reason <> 0 THEN 0"
            f" WHEN is_conflict AND label IS NOT NULL THEN {_CONFLICT} WHEN id <> first THEN {_DUPLICATE} ELSE 0 END"
            f" AS reason FROM alike JOIN same USING (entity, happened) WHERE is_conflict OR id <> first"
        )

    def _find_suspects(self) -> None:
        """Writes the table ``suspects``: hashes of entity and time that several rows have.

        Equal rows have equal hashes, and few others do, so only those are compared in full. Numbers are sorted here
        many times faster than the engine groups them.
        """
        import pyarrow as pa

        connection, found = self.connection, [np.array([], np.uint64)]
        (rows,) = first_row(connection, f"SELECT count(*) FROM judged WHERE {_IS_SERVED}")
        num_parts = -(-rows // _MAX_SORTED)
        for part in range(num_parts):
            query = f"SELECT h FROM (SELECT hash(entity, happened) AS h FROM judged WHERE {_IS_SERVED})"
            if num_parts > 1:
                query += f" WHERE h % {num_parts} = {part}"
            hashes = np.asarray(connection.execute(query).fetchnumpy()["h"])
            hashes.sort()
            found.append(np.unique(hashes[1:][hashes[1:] == hashes[:-1]]))
        connection.register("found_hashes", pa.Table.from_arrays([array_of(np.concatenate(found), pa.uint64())], ["h"]))
        connection.execute("CREATE TEMP TABLE suspects AS FROM found_hashes")
        connection.unregister("found_hashes")

    def count(self) -> dict[str, int]:
        """Flawed rows by reason."""
        rows = self.connection.execute(
            "SELECT reason, count(*) FROM (SELECT reason FROM judged WHERE reason > 0"
            " UNION ALL SELECT reason FROM clashes WHERE reason > 0) GROUP BY reason"
        ).fetchall()
        return {self.reasons[reason]: count for reason, count in rows}

    def first_flawed(self) -> FlawedRow | None:
        """The first flawed row, if there is any."""
        (number,) = first_row(
            self.connection,
            "SELECT min(id) FROM (SELECT id FROM judged WHERE reason > 0"
            " UNION ALL SELECT id FROM clashes WHERE reason > 0)",
        )
        if number is None:
            return None
        with self._flawed(f"SELECT bad_id, reason FROM bad WHERE bad_id = {number}") as rows:
            return FlawedRow(*first_row(self.connection, rows))

    def write_flawed(self, path: Path) -> None:
        """Writes all flawed rows to a Parquet file of ``id, reason, detail, raw``."""
        with self._flawed("SELECT bad_id, reason FROM bad") as rows:
            self.connection.execute(f"COPY ({rows}) TO {text_literal(str(path))} (FORMAT parquet)")

    @contextmanager
    def _flawed(self, where: str) -> Iterator[str]:
        """The query of some flawed rows; it holds within the context. ``where`` selects from ``bad``."""
        connection = self.connection
        connection.execute(
            "CREATE OR REPLACE TEMP TABLE asked_rows AS WITH bad AS ("
            "SELECT id AS bad_id, reason FROM judged WHERE reason > 0"
            f" UNION ALL SELECT id, reason FROM clashes WHERE reason > 0) {where}"
        )
        register_hint(connection)
        with working_folder() as folder:
            yield " UNION ALL ".join(self._flawed_of(group, folder) for group in self.groups)
        connection.execute("DROP TABLE asked_rows")

    def _flawed_of(self, group: RowGroup, folder: Path) -> str:
        relation, flaw, columns, is_row = group.relation, "flaw", group.columns, group.is_row("bad_id")
        if group.originals:
            ids = self.connection.execute("SELECT bad_id FROM asked_rows").fetchnumpy()["bad_id"]
            tables = load_originals(self.connection, group.originals, np.asarray(ids), folder)
            selects = " UNION ALL ".join(f"SELECT * FROM {table}" for table in tables)
            relation = f"({selects or f'SELECT * FROM {group.relation} LIMIT 0'})"
            flaw, is_row = "NULL", "id = bad_id"
            columns = {name: replace(column, form=Form.UNTYPED) for name, column in columns.items()}
        raw = ", ".join(f"{text_literal(name)}, {column.raw}" for name, column in columns.items())
        time = columns.get(self.features.event_time) or _NO_COLUMN
        reasons = list_literal(self.reasons)
        return (
            f"SELECT id, {reasons}[reason + 1] AS reason, {self._detail('reason', flaw, time.text)} AS detail,"
            f" json_object({raw})::VARCHAR AS raw FROM {relation} JOIN asked_rows ON {is_row}"
        )

    def pick(self, as_of: dt.datetime | None, *, is_latest_only: bool) -> Picked:
        """Writes the table ``picked``: the training rows and the newest rows. Most rows are both.

        Args:
            as_of: later events are left out, as if they had not happened yet; None takes all.
            is_latest_only: one training row for each entity; else all usable events with a label.
        """
        until = f" AND happened <= {_timestamp(as_of)}" if as_of is not None else ""
        is_learned = f"reason = 0 AND label IS NOT NULL AND clash = 0{until}"
        is_served = f"{_IS_SERVED} AND clash < {_OTHER}"
        (are_same,) = first_row(
            self.connection,
            f"SELECT NOT EXISTS (FROM judged WHERE {_IS_SERVED} AND label IS NULL)"
            " AND NOT EXISTS (FROM clashes WHERE is_first)",
        )
        # A struct in `arg_max` costs twice as much as two numbers, and an id leaves a bit for the label.
        latest = "arg_max(id * 2 + label, happened) AS best, max(happened) AS best_at"
        same = f"SELECT entity, {latest} FROM judged WHERE {is_learned} GROUP BY entity"
        learned = "entity, best >> 1 AS id, best_at AS happened, (best & 1)::UTINYINT AS label, true AS is_training"
        if is_latest_only and are_same:
            query = f"SELECT {learned}, true AS is_newest FROM ({same})"
        elif is_latest_only:
            # Only entities with a row that is served, but not learned from, may have two rows. Each step is a table, so
            # that the engine knows how few they are.
            odd = f"SELECT DISTINCT entity FROM judged WHERE {is_served} AND NOT ({is_learned}){until}"
            newest = (
                "SELECT entity, arg_max(id, happened) AS newest, max(happened) AS newest_at FROM judged"
                f" WHERE {is_served}{until} AND entity IN (FROM odd) GROUP BY entity"
            )
            for name, select in (("odd", odd), ("newest", newest), ("best", same)):
                self.connection.execute(f"CREATE TEMP TABLE {name} AS {select}")
            query = (
                "WITH found AS MATERIALIZED (FROM best FULL JOIN newest USING (entity))"
                f" SELECT {learned}, newest IS NULL OR newest = (best >> 1) AS is_newest FROM found"
                " WHERE best IS NOT NULL UNION ALL SELECT entity, newest, newest_at, NULL, false, true FROM found"
                " WHERE newest IS NOT NULL AND (best IS NULL OR newest <> (best >> 1))"
            )
        else:
            query = (
                "SELECT entity, id, happened, label, label IS NOT NULL AS is_training,"
                " newest.id IS NOT NULL AS is_newest"
                f" FROM (SELECT entity, id, happened, label FROM judged WHERE {is_learned}) AS learned FULL JOIN"
                " (SELECT entity, arg_max(id, happened) AS id, max(happened) AS happened"
                f" FROM judged WHERE {is_served}{until} GROUP BY entity) AS newest USING (entity, id, happened)"
            )
        self.connection.execute(f"CREATE TEMP TABLE picked AS {query}")
        is_unlabelled = "is_newest AND entity NOT IN (SELECT entity FROM picked WHERE is_training)"
        num_training, num_newest, num_unlabelled = first_row(
            self.connection,
            "SELECT count(*) FILTER (WHERE is_training), count(*) FILTER (WHERE is_newest),"
            f" count(*) FILTER (WHERE {'false' if are_same else is_unlabelled}) FROM picked",
        )
        num_later = 0
        if as_of is not None:
            later = f"SELECT count(*) FROM judged WHERE {is_served} AND happened > {_timestamp(as_of)}"
            (num_later,) = first_row(self.connection, later)
        return Picked(num_training, num_newest, num_unlabelled, num_later)

    def choose(self, kinds: dict[str, FeatureKind]) -> None:
        """Writes the table ``chosen``: the picked rows with a column for each of ``kinds``. It comes last."""
        # Nothing else is asked of the other tables, and the features need their memory.
        for name in ("judged", "suspects", "clashes", "odd", "newest", "best"):
            self.connection.execute(f"DROP TABLE IF EXISTS {name}")
        choose(self.connection, self.groups, kinds)

    def label_counts(self) -> LabelCounts:
        """What the labels say, of rows that are readable otherwise."""
        row = first_row(
            self.connection,
            "SELECT count(*) FILTER (WHERE label = 1), count(*) FILTER (WHERE label = 0),"
            f" count(*) FILTER (WHERE reason = {_UNKNOWN_LABEL}) FROM judged WHERE {_IS_SERVED}",
        )
        return LabelCounts(*row)

    def write_events(
        self,
        columns: EventColumns,
        groups: Sequence[tuple[RowGroup, Mapping[str, ColumnSql]]],
        as_of: dt.datetime | None,
    ) -> None:
        """Makes the relation ``events(id, entity, happened, x0 ..., w0 ...)`` of all rows that are events.

        Args:
            columns: the columns and conditions that they carry.
            groups: the rows, with the SQL of each of their columns.
            as_of: later events are left out; None takes all.
        """
        self.connection.execute(
            f"CREATE TEMP TABLE unusable AS SELECT id FROM judged WHERE NOT ({_IS_SERVED})"
            " UNION SELECT id FROM clashes WHERE NOT is_first"
        )
        (num_unusable,) = first_row(self.connection, "SELECT count(*) FROM unusable")
        where = "id NOT IN (SELECT id FROM unusable)" if num_unusable else "true"
        if as_of is not None:
            where += f" AND happened <= {_timestamp(as_of)}"
        selects = []
        for number, (group, sql) in enumerate(groups):
            entity = _column(group, self.features.entity).identifier
            at = event_time(_column(group, self.features.event_time), self.time_formats)
            query = (
                f"SELECT * FROM (SELECT id, {entity} AS entity, {at} AS happened{columns.projection(sql)}"
                f" FROM {group.relation}) WHERE {where}"
            )
            if group.kind is not FileKind.PARQUET:
                # Each feature query reads the events again. Typed columns are cheap to read, text is not.
                self.connection.execute(f"CREATE TEMP TABLE events_{number} AS {query}")
                query = f"SELECT * FROM events_{number}"
            selects.append(query)
        self.connection.execute(f"CREATE TEMP VIEW events AS {' UNION ALL '.join(selects)}")

    def label_rates(self) -> LabelRates | None:
        """How the quarantine moved the share of positive labels; None where no row with a label was lost."""
        num_lost, num_before, positive_before, num_after, positive_after = self._label_sums()
        if not num_lost or not num_after:
            return None
        return LabelRates(num_lost, positive_before / num_before, positive_after / num_after)

    def _label_sums(self) -> tuple[int, ...]:
        """Rows with a label: those lost, then all and the positive ones, then the usable and the positive of them."""
        return first_row(
            self.connection,
            "SELECT count(*) FILTER (WHERE is_lost), count(*), coalesce(sum(label), 0),"
            " count(*) FILTER (WHERE NOT is_lost), coalesce(sum(label) FILTER (WHERE NOT is_lost), 0) FROM ("
            f" SELECT label, reason > 0 OR id IN (SELECT id FROM clashes WHERE reason = {_CONFLICT}) AS is_lost"
            " FROM judged WHERE label IS NOT NULL"
            f" AND id NOT IN (SELECT id FROM clashes WHERE reason = {_DUPLICATE}))",
        )

    def _judged(self, group: RowGroup, now: dt.datetime | None) -> str:
        entity, label = (_column(group, name) for name in (self.features.entity, self.label))
        at = event_time(_column(group, self.features.event_time), self.time_formats)
        if self.features.event_time_constant:
            at = _timestamp(parse_constant(self.features.event_time_constant))
        future = f"WHEN happened > {_timestamp(now)} THEN 4" if now is not None else ""
        return (
            "SELECT id, entity, happened, 0::UTINYINT AS clash, label::UTINYINT AS label,"
            f" (CASE WHEN flaw IS NOT NULL THEN 1 WHEN entity IS NULL THEN 2 WHEN happened IS NULL THEN 3 {future}"
            f" WHEN label IS NULL AND {replace(label, sql='raw_label').is_present} THEN {_UNKNOWN_LABEL}"
            f" ELSE 0 END)::UTINYINT AS reason"
            f" FROM (SELECT id, flaw, {entity.identifier} AS entity, {at} AS happened,"
            f" {label_value(label, self.features.label)} AS label, {label.sql} AS raw_label"
            f" FROM {group.relation})"
        )

    def _detail(self, reason: str, flaw: str, time: str) -> str:
        """What is known beyond the reason."""
        declared = self.features.label
        words = "neither positive nor negative" if declared.positive else "neither yes/no, true/false nor 1/0"
        return (
            f"(CASE {reason} WHEN 1 THEN coalesce({flaw}, '') WHEN 3 THEN {HINT}(coalesce({time}, ''))"
            f" WHEN 4 THEN 'a time in the future' WHEN {_UNKNOWN_LABEL} THEN {text_literal(words)} ELSE '' END)"
        )


_NO_COLUMN = RawColumn("NULL::VARCHAR", Form.TEXT)


def _column(group: RowGroup, name: str) -> RawColumn:
    """A group may lack a column that others have; then it has no value there."""
    return group.columns.get(name) or _NO_COLUMN


def _timestamp(moment: dt.datetime) -> str:
    return f"TIMESTAMP '{moment.astimezone(dt.UTC):%Y-%m-%d %H:%M:%S.%f}'"
