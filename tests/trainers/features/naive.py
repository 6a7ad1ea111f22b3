"""Features over events by a plain loop over Python values, and random events to try it on."""

from __future__ import annotations

import datetime as dt
import math
from collections import Counter
from dataclasses import dataclass

from hypothesis import strategies as st

from divisions.pipeline.feature_definition import (
    ALL_TIME,
    Aggregate,
    Condition,
    FeatureDefinition,
    Operator,
    Truth,
    Window,
)
from divisions.schema import FeatureKind

START = dt.datetime(2025, 1, 1, tzinfo=dt.UTC)
ENTITY, TIME = "customer", "happened_at"
KINDS = {"text": FeatureKind.CATEGORICAL, "amount": FeatureKind.NUMERIC, "flag": FeatureKind.BOOLEAN}
SQL_TYPES = {"text": "VARCHAR", "amount": "DOUBLE", "flag": "BOOLEAN", "joined": "TIMESTAMP"}


@dataclass(frozen=True)
class Event:
    """An event; its place in a list is its row."""

    entity: str
    happened: dt.datetime
    text: str | None = None
    amount: float | None = None
    flag: bool | None = None
    joined: dt.datetime | None = None

    def value(self, column):
        return {ENTITY: self.entity, TIME: self.happened}.get(column) or getattr(self, column, None)


def holds(condition: Condition, event: Event) -> bool:
    value = event.value(condition.column) if condition.column != "flag" else event.flag
    if condition.column == "amount":
        value = event.amount
    if value is None:
        return False

    def equals(wanted):
        match wanted, value:
            case Truth(), bool():
                return wanted.value is value
            case (str(), str()) | (float(), float()):
                return wanted == value
        return False

    match condition.operator:
        case Operator.IN:
            return any(map(equals, condition.values))
        case Operator.NOT:
            return not any(map(equals, condition.values))
    if not isinstance(value, float):
        return False
    (bound,) = condition.values
    return {
        Operator.ABOVE: value > bound,
        Operator.AT_LEAST: value >= bound,
        Operator.BELOW: value < bound,
        Operator.AT_MOST: value <= bound,
    }[condition.operator]


def feature(definition: FeatureDefinition, window: Window, events: list[Event], entity: str, cutoff: dt.datetime):
    """One feature of one entity at one time."""
    seen = []
    for row, event in enumerate(events):
        if event.entity != entity or event.happened > cutoff:
            continue
        if window != ALL_TIME and event.happened <= cutoff - dt.timedelta(microseconds=window.microseconds):
            continue
        if not all(holds(condition, event) for condition in definition.where):
            continue
        value = getattr(event, definition.column) if definition.column in SQL_TYPES else event.value(definition.column)
        if value is not None:
            seen.append((event.happened, row, value))
    values = [value for _, _, value in seen]
    match definition.aggregate:
        case Aggregate.COUNT:
            return float(len(values))
        case Aggregate.SUM:
            return math.fsum(values)
        case Aggregate.DISTINCT:
            return float(len(set(values)))
    if not seen:
        return None
    match definition.aggregate:
        case Aggregate.MEAN:
            return math.fsum(values) / len(values)
        case Aggregate.MIN:
            return min(values)
        case Aggregate.MAX:
            return max(values)
        case Aggregate.LAST:
            return max(seen, key=lambda one: one[:2])[2]
        case Aggregate.DAYS_SINCE:
            return (cutoff - max(seen, key=lambda one: one[:2])[2]) / dt.timedelta(days=1)
        case Aggregate.MOST_FREQUENT:
            counts = Counter(values)
            newest = {value: max(time for time, _, other in seen if other == value) for value in counts}
            return max(counts, key=lambda value: (counts[value], newest[value], value))
    raise AssertionError(definition)


# Times lie on a grid of hours around the edges of the windows, so that many are equal and many are on an edge.
_HOURS = st.sampled_from([0, 1, 11, 12, 13, 23, 24, 25, 36, 48, 167, 168, 169, 192])
MOMENTS = st.builds(
    lambda hours, microsecond: START + dt.timedelta(hours=hours, microseconds=microsecond),
    _HOURS,
    st.sampled_from([-1, 0, 0, 0, 1]),
)
ENTITIES = ("a", "b", "it's")
TEXTS = ("x", "y", "it's; --", '"')
AMOUNTS = (-1.5, 0.0, 0.1, 0.2, 7.0, 1e30)
EVENTS = st.lists(
    st.builds(
        Event,
        entity=st.sampled_from(ENTITIES),
        happened=MOMENTS,
        text=st.none() | st.sampled_from(TEXTS),
        amount=st.none() | st.sampled_from(AMOUNTS),
        flag=st.none() | st.booleans(),
        joined=st.none() | MOMENTS,
    ),
    max_size=25,
)
_BOUNDS = st.sampled_from(AMOUNTS).map(lambda bound: (bound,))
_ORDERINGS = st.sampled_from([Operator.ABOVE, Operator.AT_LEAST, Operator.BELOW, Operator.AT_MOST])
_EQUALITIES = st.sampled_from([Operator.IN, Operator.NOT])


def _one_of(values):
    return st.lists(st.sampled_from(values), min_size=1, max_size=2).map(tuple)


CONDITIONS = st.one_of(
    st.builds(Condition, st.just("text"), _EQUALITIES, _one_of(TEXTS)),
    st.builds(Condition, st.just("amount"), _EQUALITIES, _one_of(AMOUNTS)),
    st.builds(Condition, st.just("flag"), _EQUALITIES, _one_of(tuple(Truth))),
    st.builds(Condition, st.just("amount"), _ORDERINGS, _BOUNDS),
    st.builds(Condition, st.just("absent"), _EQUALITIES, _one_of(TEXTS)),
)
WINDOWS = st.sampled_from([ALL_TIME, Window(1, "h"), Window(12, "h"), Window(1, "d"), Window(7, "d"), Window(1, "w")])
_COLUMNS = {
    Aggregate.LAST: ("text", "amount", "flag"),
    Aggregate.COUNT: ("text", "amount", "flag", "joined", ENTITY, TIME),
    Aggregate.DISTINCT: ("text",),
    Aggregate.MOST_FREQUENT: ("text",),
    Aggregate.DAYS_SINCE: (TIME, "joined"),
}


@st.composite
def definitions(draw):
    """Up to six definitions of the features ``d0``, ``d1`` ..., some over several windows."""
    found = []
    for number in range(draw(st.integers(1, 6))):
        aggregate = draw(st.sampled_from(list(Aggregate)))
        column = draw(st.sampled_from(_COLUMNS.get(aggregate, ("amount",))))
        windows = tuple(draw(st.lists(WINDOWS, min_size=1, max_size=3, unique=True)))
        where = tuple(draw(st.lists(CONDITIONS, max_size=2)))
        found.append(FeatureDefinition(f"d{number}", aggregate, column, where, windows, is_listed=True))
    return found
