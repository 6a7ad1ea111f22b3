"""Features of entities at given times, as SQL over events.

    events(id, entity, happened, x0 ..., w0 ...)            what happened, with the columns and conditions it takes
    cutoffs(entity, cutoff)                                 one row an entity: the time T of its features
      -> entity, cutoff, f0, f1 ...                         one row an entity, a column for each feature

An event counts for an entity at T if it happened at or before T. That stands in one place, `_seen`, under everything
else, so no feature can forget it. Its age T - happened is then 0 or more, and a window of length w takes ages below w:
the events of (T - w, T].

``last`` takes the latest event that has a value; of events at the same time, the one of the later row. ``distinct`` and
``most_frequent`` group by value first, so that memory does not grow with the number of values an entity has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from divisions.pipeline.feature_definition import Aggregate, FeatureDefinition, Window
from divisions.schema import FLOAT32_MAX, FeatureKind
from trainers.features.event_columns import EventColumns, Value, Where, value_of

_DAY_US = 86_400_000_000.0
_NEWEST = "(epoch_us(happened)::HUGEINT * 18446744073709551616 + id)"
"""Orders events by time, then by row. Both numbers have less than 63 bits."""


@dataclass(frozen=True, slots=True)
class DefinedFeature:
    """One feature: a definition over one of its windows. ``kind`` is that of its values."""

    name: str
    definition: FeatureDefinition
    window: Window
    kind: FeatureKind


def defined_features(
    definitions: Sequence[FeatureDefinition], kinds: Mapping[str, FeatureKind]
) -> tuple[DefinedFeature, ...]:
    """The features of all definitions, in order.

    Args:
        definitions: what is wanted.
        kinds: the kind of each feature that takes the last value of its column; the other kinds are fixed.
    """
    found = []
    for definition in definitions:
        for name, window in zip(definition.names, definition.windows, strict=True):
            kind = fixed_kind(definition.aggregate) or kinds[name]
            found.append(DefinedFeature(name, definition, window, kind))
    return tuple(found)


def fixed_kind(aggregate: Aggregate) -> FeatureKind | None:
    """The kind of an aggregate's features; None where it is that of the column."""
    match aggregate:
        case Aggregate.LAST:
            return None
        case Aggregate.MOST_FREQUENT:
            return FeatureKind.CATEGORICAL
    return FeatureKind.NUMERIC


@dataclass(frozen=True, slots=True)
class Aggregation:
    """The SQL of a list of features.

    Attributes:
        features: they become ``f0``, ``f1`` ... of types DOUBLE, UTINYINT (0 or 1) and VARCHAR, by their kind.
        always_present: the columns of the entity and the event time, which have a value in every event.
        event_time: the column of the event time.
    """

    features: tuple[DefinedFeature, ...]
    always_present: tuple[str, ...]
    event_time: str

    @property
    def columns(self) -> EventColumns:
        """What the events must carry."""
        return EventColumns.of(
            (self._value(feature) for feature in self.features if not self._is_of_row(feature)),
            (feature.definition.where for feature in self.features),
        )

    def parts(self, events: str, cutoffs: str) -> tuple[str, ...]:
        """Queries over the events, whose results `joined` puts side by side. Each reads all events once."""
        seen = _seen(events, cutoffs)
        direct = [
            f", {self._direct(feature)} AS f{index}"
            for index, feature in enumerate(self.features)
            if not self._is_by_value(feature)
        ]
        parts = [f"SELECT entity{''.join(direct)} FROM ({seen}) GROUP BY entity"] if direct else []
        groups: dict[tuple[Value, Where], list[int]] = {}
        for index, feature in enumerate(self.features):
            if self._is_by_value(feature):
                groups.setdefault((self._value(feature), feature.definition.where), []).append(index)
        parts += [self._by_value(seen, value, where, indices) for (value, where), indices in groups.items()]
        return tuple(parts)

    def joined(self, parts: Sequence[str], cutoffs: str) -> str:
        """The features of every entity of ``cutoffs``. ``parts`` are the queries, or tables of their results."""
        joins = "".join(
            f" LEFT JOIN {part} AS part{index} ON part{index}.entity = moments.entity"
            for index, part in enumerate(parts)
        )
        outputs = "".join(f", {_output(feature, index)} AS f{index}" for index, feature in enumerate(self.features))
        return f"SELECT moments.entity, moments.cutoff{outputs} FROM {cutoffs} AS moments{joins}"

    def sql(self, events: str, cutoffs: str) -> str:
        """Everything as one query."""
        return self.joined([f"({part})" for part in self.parts(events, cutoffs)], cutoffs)

    def _is_of_row(self, feature: DefinedFeature) -> bool:
        """Whether it reads nothing of an event but that and when it happened."""
        definition = feature.definition
        match definition.aggregate:
            case Aggregate.COUNT:
                return definition.column in self.always_present
            case Aggregate.DAYS_SINCE:
                return definition.column == self.event_time
        return False

    def _is_by_value(self, feature: DefinedFeature) -> bool:
        return feature.definition.aggregate in {Aggregate.DISTINCT, Aggregate.MOST_FREQUENT}

    def _value(self, feature: DefinedFeature) -> Value:
        return value_of(feature.definition, feature.kind)

    def _direct(self, feature: DefinedFeature) -> str:
        definition = feature.definition
        conditions = [self.columns.filter(definition.where), _within(feature.window)]
        if self._is_of_row(feature):
            value = "true"
        else:
            value = self.columns.value(self._value(feature))
            conditions.append(value if definition.aggregate is Aggregate.COUNT else f"{value} IS NOT NULL")
        where = f"FILTER (WHERE {' AND '.join(conditions)})"
        match definition.aggregate:
            case Aggregate.COUNT:
                return f"count(*) {where}"
            case Aggregate.SUM:
                return f"fsum({value}) {where}"
            case Aggregate.MEAN:
                return f"favg({value}) {where}"
            case Aggregate.MIN | Aggregate.MAX:
                return f"{definition.aggregate.value}({value}) {where}"
            case Aggregate.DAYS_SINCE if self._is_of_row(feature):
                return f"min(age) {where} / {_DAY_US}"
            case Aggregate.DAYS_SINCE:
                return f"arg_max((epoch_us(cutoff) - epoch_us({value})) / {_DAY_US}, {_NEWEST}) {where}"
            case Aggregate.LAST if feature.kind is FeatureKind.BOOLEAN:
                return f"arg_max({value}::INTEGER, {_NEWEST}) {where}"
            case Aggregate.LAST:
                return f"arg_max({value}, {_NEWEST}) {where}"
        raise AssertionError(definition.aggregate)

    def _by_value(self, seen: str, value: Value, where: Where, indices: Sequence[int]) -> str:
        windows = list(dict.fromkeys(self.features[index].window for index in indices))
        counts = "".join(
            f", count(*) FILTER (WHERE {_within(window)}) AS n{number}, min(age) AS newest"
            if number == 0
            else f", count(*) FILTER (WHERE {_within(window)}) AS n{number}"
            for number, window in enumerate(windows)
        )
        column = self.columns.value(value)
        inner = (
            f"SELECT entity, {column} AS value{counts} FROM ({seen})"
            f" WHERE {self.columns.filter(where)} AND {column} IS NOT NULL GROUP BY entity, {column}"
        )
        outer = []
        for index in indices:
            number = windows.index(self.features[index].window)
            if self.features[index].definition.aggregate is Aggregate.DISTINCT:
                outer.append(f", count(*) FILTER (WHERE n{number} > 0) AS f{index}")
            else:
                # Of values that are equally frequent, the newest; of those, the last by the alphabet.
                rank = f"{{'count': n{number}, 'newest': -newest, 'value': value}}"
                outer.append(f", arg_max(value, {rank}) FILTER (WHERE n{number} > 0) AS f{index}")
        return f"SELECT entity{''.join(outer)} FROM ({inner}) GROUP BY entity"


def _seen(events: str, cutoffs: str) -> str:
    """The events at or before the time of their entity, with their age in microseconds."""
    return (
        "SELECT events.*, moments.cutoff, epoch_us(moments.cutoff) - epoch_us(events.happened) AS age"
        f" FROM {events} AS events JOIN {cutoffs} AS moments ON events.entity = moments.entity"
        " WHERE events.happened <= moments.cutoff"
    )


def _within(window: Window) -> str:
    return "true" if window.microseconds is None else f"age < {window.microseconds}"


def _output(feature: DefinedFeature, index: int) -> str:
    name = f"f{index}"
    if feature.kind is FeatureKind.CATEGORICAL:
        return name
    if feature.kind is FeatureKind.BOOLEAN:
        return f"{name}::UTINYINT"
    if feature.definition.aggregate.is_zero_of_nothing:
        name = f"coalesce({name}, 0)"
    # Sums of numbers of 32 bits may need more.
    return f"(CASE WHEN abs({name}) <= {FLOAT32_MAX!r} THEN ({name})::DOUBLE END)"
