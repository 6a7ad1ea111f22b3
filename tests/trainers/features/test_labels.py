import datetime as dt

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from divisions.pipeline.feature_definition import Absence, Window
from tests.trainers.features.naive import ENTITIES, MOMENTS, START
from trainers.features.labels import absence_sql, label_times, newest_sql

DAY, TICK = dt.timedelta(days=1), dt.timedelta(microseconds=1)
WEEKLY = Absence((), Window(7, "d"), Window(2, "d"), Window(7, "d"))
T = START + 10 * DAY


@pytest.fixture(scope="module")
def connection():
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


def load(connection, events):
    connection.execute("CREATE OR REPLACE TABLE events (entity VARCHAR, happened TIMESTAMP, w0 BOOLEAN)")
    for entity, moment, is_meant in events:
        connection.execute("INSERT INTO events VALUES (?, ?, ?)", (entity, moment.replace(tzinfo=None), is_meant))


def labels(connection, absence, cutoff):
    rows = connection.execute(absence_sql(absence, "w0", "events", cutoff)).fetchall()
    assert {at for _, at, _ in rows} <= {cutoff.replace(tzinfo=None)}
    return {entity: label for entity, _, label in rows}


@settings(max_examples=200, deadline=None)
@given(
    events=st.lists(st.tuples(st.sampled_from(ENTITIES), MOMENTS, st.booleans()), max_size=20),
    cutoff=MOMENTS,
    horizon=st.sampled_from([Window(1, "h"), Window(12, "h"), Window(1, "d"), Window(1, "w")]),
    active=st.sampled_from([Window(1, "h"), Window(1, "d"), Window(1, "w")]),
)
def test_labels_are_those_of_a_plain_loop(connection, events, cutoff, horizon, active):
    end = cutoff + dt.timedelta(microseconds=horizon.microseconds)
    since = cutoff - dt.timedelta(microseconds=active.microseconds)
    wanted = {}
    for entity in ENTITIES:
        own = [(moment, is_meant) for name, moment, is_meant in events if name == entity]
        if any(since < moment <= cutoff for moment, _ in own):
            wanted[entity] = int(not any(is_meant and cutoff < moment <= end for moment, is_meant in own))
    load(connection, events)
    assert labels(connection, Absence((), horizon, active, horizon), cutoff) == wanted


@pytest.mark.parametrize(
    ("moment", "label"), [(T, 1), (T + TICK, 0), (T + 7 * DAY, 0), (T + 7 * DAY + TICK, 1)], ids=str
)
def test_the_label_looks_after_its_time_up_to_its_end(connection, moment, label):
    load(connection, [("a", T, False), ("a", moment, True)])
    assert labels(connection, WEEKLY, T) == {"a": label}


@pytest.mark.parametrize(("moment", "has_label"), [(T - 2 * DAY, False), (T - 2 * DAY + TICK, True), (T + TICK, False)])
def test_only_entities_that_were_active_have_a_label(connection, moment, has_label):
    load(connection, [("a", moment, False)])
    assert labels(connection, WEEKLY, T) == ({"a": 1} if has_label else {})


def test_a_label_ends_with_what_was_observed():
    observed = START + 30 * DAY
    assert label_times(WEEKLY, START, observed) == [observed - 7 * DAY]


@given(
    days=st.integers(0, 200),
    horizon=st.integers(1, 60),
    every=st.integers(1, 60),
    times=st.integers(1, 12),
)
def test_several_labels_are_equally_far_apart_within_what_was_observed(days, horizon, every, times):
    absence = Absence((), Window(horizon, "d"), Window(7, "d"), Window(every, "d"), times)
    observed = START + days * DAY
    found = label_times(absence, START, observed)
    assert found == [observed - (horizon + number * every) * DAY for number in range(len(found))]
    assert len(found) <= times
    assert all(at >= START for at in found)
    before = observed - (horizon + len(found) * every) * DAY
    assert len(found) == times or before < START


def test_every_entity_that_was_seen_is_served(connection):
    load(connection, [("a", T - 900 * DAY, False), ("b", T, False), ("late", T + TICK, True)])
    rows = connection.execute(newest_sql("events", T)).fetchall()
    assert sorted(rows) == [("a", T.replace(tzinfo=None)), ("b", T.replace(tzinfo=None))]
