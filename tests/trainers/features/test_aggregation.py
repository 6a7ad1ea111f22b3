"""The SQL of features against a plain loop, and leaks that must not pass."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from divisions.pipeline.feature_definition import ALL_TIME, Aggregate, Condition, FeatureDefinition, Operator, Window
from divisions.schema import FeatureKind
from tests.trainers.features.naive import (
    ENTITIES,
    ENTITY,
    EVENTS,
    KINDS,
    MOMENTS,
    SQL_TYPES,
    START,
    TIME,
    Event,
    definitions,
    feature,
)
from trainers.features.aggregation import Aggregation, defined_features

DAY = dt.timedelta(days=1)


@dataclass(frozen=True)
class Typed:
    """A column of a table that is typed already."""

    name: str

    def _only(self, kind):
        return self.name if SQL_TYPES[self.name] == kind else f"NULL::{kind}"

    @property
    def identifier(self):
        return self._only("VARCHAR")

    @property
    def number(self):
        return self._only("DOUBLE")

    @property
    def truth(self):
        return self._only("BOOLEAN")

    @property
    def moment(self):
        return self._only("TIMESTAMP")

    @property
    def is_present(self):
        return f"({self.name} IS NOT NULL)"


@pytest.fixture(scope="module")
def connection():
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


def aggregation_of(found):
    kinds = {name: KINDS.get(one.column, FeatureKind.NUMERIC) for one in found for name in one.names}
    return Aggregation(defined_features(found, kinds), (ENTITY, TIME), TIME)


def load(connection, aggregation, events, cutoffs):
    columns = ", ".join(f"{name} {kind}" for name, kind in SQL_TYPES.items())
    connection.execute(f"CREATE OR REPLACE TABLE raw (id BIGINT, entity VARCHAR, happened TIMESTAMP, {columns})")
    rows = [
        (row, e.entity, naive(e.happened), e.text, e.amount, e.flag, naive(e.joined)) for row, e in enumerate(events)
    ]
    if rows:
        connection.executemany("INSERT INTO raw VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
    projection = aggregation.columns.projection({name: Typed(name) for name in SQL_TYPES})
    connection.execute(f"CREATE OR REPLACE VIEW events AS SELECT id, entity, happened{projection} FROM raw")
    connection.execute("CREATE OR REPLACE TABLE cutoffs (entity VARCHAR, cutoff TIMESTAMP)")
    for entity, cutoff in cutoffs.items():
        connection.execute("INSERT INTO cutoffs VALUES (?, ?)", (entity, naive(cutoff)))


def naive(moment):
    return moment and moment.astimezone(dt.UTC).replace(tzinfo=None)


def computed(connection, sql):
    """The features of each entity."""
    return {entity: values for entity, _, *values in connection.execute(sql).fetchall()}


def expected(aggregation, events, cutoffs):
    return {
        entity: [feature(one.definition, one.window, events, entity, cutoff) for one in aggregation.features]
        for entity, cutoff in cutoffs.items()
    }


def approximately(features):
    return {
        entity: [pytest.approx(v, rel=1e-12) if isinstance(v, float) else v for v in row]
        for entity, row in features.items()
    }


CUTOFFS = st.dictionaries(st.sampled_from((*ENTITIES, "nobody")), MOMENTS, min_size=1)
RANDOM = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@RANDOM
@given(found=definitions(), events=EVENTS, cutoffs=CUTOFFS)
def test_sql_gives_what_a_plain_loop_gives(connection, found, events, cutoffs):
    aggregation = aggregation_of(found)
    load(connection, aggregation, events, cutoffs)
    got = computed(connection, aggregation.sql("events", "cutoffs"))
    assert got == approximately(expected(aggregation, events, cutoffs))


ALL_AGGREGATES = [
    FeatureDefinition("last", Aggregate.LAST, "text"),
    FeatureDefinition("number", Aggregate.LAST, "amount"),
    FeatureDefinition("flag", Aggregate.LAST, "flag"),
    FeatureDefinition("count", Aggregate.COUNT, TIME),
    FeatureDefinition("sum", Aggregate.SUM, "amount"),
    FeatureDefinition("mean", Aggregate.MEAN, "amount"),
    FeatureDefinition("min", Aggregate.MIN, "amount"),
    FeatureDefinition("max", Aggregate.MAX, "amount"),
    FeatureDefinition("distinct", Aggregate.DISTINCT, "text"),
    FeatureDefinition("frequent", Aggregate.MOST_FREQUENT, "text"),
    FeatureDefinition("since", Aggregate.DAYS_SINCE, TIME),
    FeatureDefinition("joined", Aggregate.DAYS_SINCE, "joined"),
]
BEFORE = [Event("a", START, "x", 1.0, False, START), Event("a", START + DAY, "y", 3.0, True, START + DAY)]
AT_ONCE = Event("a", START + DAY + dt.timedelta(microseconds=1), "leak", -9.0, False, START - DAY)
"""A microsecond after the cutoff: it would change every feature."""
MORE = [Event("a", AT_ONCE.happened, "leak", 99.0), Event("a", AT_ONCE.happened, "leak")]
CUTOFF = {"a": START + DAY}


def test_an_event_after_the_cutoff_changes_no_feature(connection):
    aggregation = aggregation_of(ALL_AGGREGATES)
    load(connection, aggregation, BEFORE, CUTOFF)
    without = computed(connection, aggregation.sql("events", "cutoffs"))
    load(connection, aggregation, [*MORE, *BEFORE, AT_ONCE, *MORE], CUTOFF)
    assert computed(connection, aggregation.sql("events", "cutoffs")) == without
    assert without["a"] == ["y", 3.0, 1, 2.0, 4.0, 2.0, 1.0, 3.0, 2.0, "y", 0.0, 0.0]


@pytest.mark.parametrize(
    "leaky",
    ["true", "events.happened <= moments.cutoff + INTERVAL 1 MICROSECOND"],
    ids=["no cutoff", "a microsecond too late"],
)
def test_sql_that_ignores_the_cutoff_is_found_out_in_every_feature(connection, leaky):
    """The condition stands once in each query; without it, the event after the cutoff shows in all features."""
    aggregation = aggregation_of(ALL_AGGREGATES)
    load(connection, aggregation, [*BEFORE, AT_ONCE, *MORE], CUTOFF)
    right = aggregation.sql("events", "cutoffs")
    wrong = right.replace("events.happened <= moments.cutoff", leaky)
    assert wrong != right
    (told,), (truth,) = computed(connection, wrong).values(), computed(connection, right).values()
    assert [a == b for a, b in zip(told, truth, strict=True)] == [False] * len(ALL_AGGREGATES)


def test_a_window_begins_after_its_edge_and_ends_with_the_cutoff(connection):
    week = FeatureDefinition("n", Aggregate.COUNT, TIME, (), (Window(7, "d"), Window(1, "w"), ALL_TIME), is_listed=True)
    edge, tick = START, dt.timedelta(microseconds=1)
    events = [Event("a", edge), Event("a", edge + tick), Event("a", edge + 7 * DAY), Event("a", edge + 7 * DAY + tick)]
    aggregation = aggregation_of([week])
    load(connection, aggregation, events, {"a": edge + 7 * DAY})
    assert [one.name for one in aggregation.features] == ["n_7d", "n_1w", "n_all"]
    assert computed(connection, aggregation.sql("events", "cutoffs")) == {"a": [2.0, 2.0, 3.0]}


def test_entities_without_any_event_have_zeros_where_nothing_is_zero(connection):
    aggregation = aggregation_of(ALL_AGGREGATES)
    load(connection, aggregation, [], CUTOFF)
    nothing = [None, None, None, 0.0, 0.0, None, None, None, 0.0, None, None, None]
    assert computed(connection, aggregation.sql("events", "cutoffs")) == {"a": nothing}


def test_a_sum_too_large_for_a_feature_is_missing(connection):
    aggregation = aggregation_of([FeatureDefinition("sum", Aggregate.SUM, "amount")])
    load(connection, aggregation, [Event("a", START, amount=3e38), Event("a", START, amount=3e38)], CUTOFF)
    assert computed(connection, aggregation.sql("events", "cutoffs")) == {"a": [None]}


def test_of_events_at_one_time_the_later_row_is_the_last(connection):
    aggregation = aggregation_of([FeatureDefinition("last", Aggregate.LAST, "text")])
    load(connection, aggregation, [Event("a", START, "x"), Event("a", START, "z"), Event("a", START, "y")], CUTOFF)
    assert computed(connection, aggregation.sql("events", "cutoffs")) == {"a": ["y"]}


def test_a_value_of_another_type_is_not_the_one_that_must_not_be(connection):
    where = (Condition("text", Operator.NOT, ("x", 7.0)),)
    aggregation = aggregation_of([FeatureDefinition("n", Aggregate.COUNT, TIME, where)])
    load(connection, aggregation, [Event("a", START, text) for text in ("x", "y", None)], CUTOFF)
    assert computed(connection, aggregation.sql("events", "cutoffs")) == {"a": [1.0]}


def test_a_condition_on_true_is_not_one_on_the_number_1(connection):
    from divisions.pipeline.feature_definition import Truth

    def count(name, column, value):
        return FeatureDefinition(name, Aggregate.COUNT, TIME, (Condition(column, Operator.IN, (value,)),))

    aggregation = aggregation_of([count("a", "flag", Truth.YES), count("b", "flag", 1.0), count("c", "amount", 1.0)])
    load(connection, aggregation, [Event("a", START, flag=True, amount=2.0)], CUTOFF)
    assert computed(connection, aggregation.sql("events", "cutoffs")) == {"a": [1.0, 0.0, 0.0]}
