"""The columns of events that definitions need, each under a short name: ``x0``, ``x1`` ... and conditions ``w0`` ...

Files of several formats have other SQL for the same column. `EventColumns.projection` gives all of them the same
columns, so that everything after it reads one relation ``events(id, entity, happened, x0 ..., w0 ...)``.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from divisions.pipeline.feature_definition import Aggregate, Comparable, Condition, FeatureDefinition, Operator, Truth
from divisions.schema import FeatureKind
from trainers.features.sql_text import text_literal


class Form(enum.Enum):
    """As what a column is read, and its value where the column is not there. What cannot be read so is null."""

    TEXT = "NULL::VARCHAR"
    NUMBER = "NULL::DOUBLE"
    TRUTH = "NULL::BOOLEAN"
    MOMENT = "NULL::TIMESTAMP"
    PRESENCE = "false"


class ColumnSql(Protocol):
    """The SQL of one column of one group of files."""

    @property
    def identifier(self) -> str: ...
    @property
    def number(self) -> str: ...
    @property
    def truth(self) -> str: ...
    @property
    def moment(self) -> str: ...
    @property
    def is_present(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Value:
    """A column, read in one form."""

    column: str
    form: Form


_BY_KIND = {
    FeatureKind.NUMERIC: Form.NUMBER,
    FeatureKind.BOOLEAN: Form.TRUTH,
    FeatureKind.CATEGORICAL: Form.TEXT,
}
Where = tuple[Condition, ...]


def value_of(definition: FeatureDefinition, kind: FeatureKind) -> Value:
    """What a definition reads of each event. ``kind`` is that of its features."""
    match definition.aggregate:
        case Aggregate.COUNT:
            form = Form.PRESENCE
        case Aggregate.DISTINCT | Aggregate.MOST_FREQUENT:
            form = Form.TEXT
        case Aggregate.DAYS_SINCE:
            form = Form.MOMENT
        case Aggregate.LAST:
            form = _BY_KIND[kind]
        case _:
            form = Form.NUMBER
    return Value(definition.column, form)


@dataclass(frozen=True, slots=True)
class EventColumns:
    """Which columns and conditions events carry, in order."""

    values: tuple[Value, ...]
    filters: tuple[Where, ...]

    @classmethod
    def of(cls, values: Iterable[Value], filters: Iterable[Where]) -> EventColumns:
        return cls(tuple(dict.fromkeys(values)), tuple(dict.fromkeys(where for where in filters if where)))

    def value(self, value: Value) -> str:
        return f"x{self.values.index(value)}"

    def filter(self, where: Where) -> str:
        """BOOLEAN, never null."""
        return f"w{self.filters.index(where)}" if where else "true"

    def projection(self, columns: Mapping[str, ColumnSql]) -> str:
        """The items of a SELECT, each after a comma. A column that a group of files lacks is missing in its events."""
        values = [f", {_read(columns, value)} AS x{index}" for index, value in enumerate(self.values)]
        filters = [f", {_all(columns, where)} AS w{index}" for index, where in enumerate(self.filters)]
        return "".join(values + filters)


def _read(columns: Mapping[str, ColumnSql], value: Value) -> str:
    column = columns.get(value.column)
    if column is None:
        return str(value.form.value)
    match value.form:
        case Form.TEXT:
            return column.identifier
        case Form.NUMBER:
            return column.number
        case Form.TRUTH:
            return column.truth
        case Form.MOMENT:
            return column.moment
        case Form.PRESENCE:
            return column.is_present


def _all(columns: Mapping[str, ColumnSql], where: Where) -> str:
    return f"coalesce({' AND '.join(_condition(columns, one) for one in where)}, false)"


def _condition(columns: Mapping[str, ColumnSql], condition: Condition) -> str:
    column = columns.get(condition.column)
    if column is None:
        return "false"
    match condition.operator:
        case Operator.IN:
            return "(" + " OR ".join(_equals(column, value) for value in condition.values) + ")"
        case Operator.NOT:
            others = " AND ".join(f"{_equals(column, value)} IS NOT TRUE" for value in condition.values)
            return f"({column.is_present} AND {others})"
        case Operator.ABOVE:
            sign = ">"
        case Operator.AT_LEAST:
            sign = ">="
        case Operator.BELOW:
            sign = "<"
        case Operator.AT_MOST:
            sign = "<="
    return f"({column.number} {sign} {_number(condition.values[0])})"


def _equals(column: ColumnSql, value: Comparable) -> str:
    match value:
        case Truth():
            return f"({column.truth} = {str(value.value).lower()})"
        case str():
            return f"({column.identifier} = {text_literal(value)})"
    return f"({column.number} = {_number(value)})"


def _number(value: Comparable) -> str:
    assert isinstance(value, float)  # the parser gives comparisons numbers only
    return f"({value!r}::DOUBLE)"
