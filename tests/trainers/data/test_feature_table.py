"""The feature table: one row per customer, no look ahead, no customer on both sides of the split."""

import datetime as dt

import numpy as np
import pandas as pd
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from divisions.errors import EmptyInputError, InputError
from divisions.pipeline.definition import Features
from divisions.schema import Feature, FeatureKind
from tests.trainers.data.rows import events_of, rows_of
from trainers.data import feature_choice
from trainers.data.feature_table import build_feature_table, is_holdout, split_holdout

START = pd.Timestamp("2025-01-14", tz="UTC")


def made_of(rows, kinds):
    frame = pd.DataFrame(rows)
    frame["event_time"] = (START + pd.to_timedelta(frame["event_time"], unit="s")).astype("datetime64[us, UTC]")
    return events_of(frame, kinds)


def many(count, **extra):
    """``count`` customers whose label alternates; columns by function of the row's number."""
    columns = {"minutes": lambda i: i * 1.5, **extra}
    rows = [
        {"customer_id": f"c-{i}", "event_time": i, "churn": i % 2, **{name: make(i) for name, make in columns.items()}}
        for i in range(count)
    ]
    kinds = {
        name: FeatureKind.CATEGORICAL if isinstance(make(0), str) else FeatureKind.NUMERIC
        for name, make in columns.items()
    }
    return made_of(rows, kinds)


def build(events, **features):
    return build_feature_table(events, Features(**features), "churn")


def test_the_latest_event_of_a_customer_is_the_row():
    rows = [
        {"customer_id": "b", "event_time": 5, "minutes": 1.0, "churn": 1},
        {"customer_id": "a", "event_time": 9, "minutes": 2.0, "churn": 0},
        {"customer_id": "b", "event_time": 3, "minutes": 3.0, "churn": 0},
        {"customer_id": "a", "event_time": 10, "minutes": 4.0, "churn": 0},
    ]
    table = build(made_of(rows, {"minutes": FeatureKind.NUMERIC}), holdout_fraction=0.0)
    assert table.entities == ("a", "b")
    assert table.x.tolist() == [[4.0], [1.0]]
    assert table.y.tolist() == [0.0, 1.0]


def test_events_after_the_point_in_time_are_ignored():
    rows = [
        {"customer_id": name, "event_time": at, "minutes": float(at + ord(name)), "churn": int(name == "a")}
        for name in "abc"
        for at in (1, 5, 9)
    ]
    events = made_of(rows, {"minutes": FeatureKind.NUMERIC})
    as_of = dt.datetime(2025, 1, 14, 0, 0, 5, tzinfo=dt.UTC)
    table = build_feature_table(events, Features(holdout_fraction=0.0), "churn", as_of=as_of)
    assert table.raw["event_time"].tolist() == [START + pd.Timedelta(seconds=5)] * 3
    assert table.x[:, 0].tolist() == [5.0 + ord(name) for name in "abc"]


@settings(max_examples=50, deadline=None)
@given(
    rows=st.lists(st.tuples(st.sampled_from("abcde"), st.integers(0, 50)), unique=True, min_size=1, max_size=40),
    cut=st.integers(0, 50),
)
def test_later_events_never_change_a_row(rows, cut):
    """The rows as of a moment are the same whether or not later events are in the data."""
    frame = pd.DataFrame([{"customer_id": name, "event_time": START + pd.Timedelta(seconds=at)} for name, at in rows])
    moment = START + pd.Timedelta(seconds=cut)
    until = frame[frame["event_time"] <= moment]
    rows_as_of = rows_of(frame).latest(moment)
    latest = rows_of(until).latest()
    assert rows_as_of.entities == latest.entities
    assert rows_as_of.times_N.tolist() == latest.times_N.tolist()
    naive = {}
    for name, at in sorted(rows, key=lambda row: row[1]):
        if at <= cut:
            naive[name] = START + pd.Timedelta(seconds=at)
    times = [pd.Timestamp(at, tz="UTC") for at in rows_as_of.times_N]
    assert list(zip(rows_as_of.entities, times, strict=True)) == sorted(naive.items())


def test_columns_without_information_are_left_out_with_a_note():
    events = many(
        100,
        same=lambda i: 7.0,
        gone=lambda i: np.nan,
        sparse=lambda i: 1.0 if i % 3 else np.nan,
        name=lambda i: f"customer {i}",
        plan=lambda i: "gold" if i % 4 else "basic",
        secret=float,
    )
    table = build(events, exclude=("secret",))
    assert table.schema.features == (
        Feature("minutes", FeatureKind.NUMERIC),
        Feature("sparse", FeatureKind.NUMERIC),
        Feature("plan", FeatureKind.CATEGORICAL, ("basic", "gold")),
    )
    assert [note.split("'")[1] for note in table.notes] == ["same", "gone", "name"]
    assert "same" in table.raw.columns


def test_rare_categories_beyond_the_cap_are_unknown(monkeypatch):
    monkeypatch.setattr(feature_choice, "MAX_CATEGORIES", 2)
    events = many(60, state=lambda i: ["NY", "NY", "NY", "OH", "OH", "KS"][i % 6])
    table = build(events, holdout_fraction=0.0)
    assert table.schema.features[1].categories == ("NY", "OH")
    codes = dict(zip(table.raw["state"], table.x[:, 1], strict=True))
    assert codes == {"NY": 1.0, "OH": 2.0, "KS": 0.0}
    assert "1 rare texts count as unknown" in table.notes[0]


def test_a_text_that_only_the_holdout_knows_is_unknown_to_the_model():
    held = is_holdout([f"c-{i}" for i in range(200)], 0.2, 0)
    events = many(200, plan=lambda i: "secret" if held[i] else ("gold" if i % 3 else "basic"))
    table = build(events)
    assert table.schema.features[1].categories == ("basic", "gold")
    split = split_holdout(table)
    assert set(split.holdout.x[:, 1]) == {0.0}
    assert set(split.train.x[:, 1]) == {1.0, 2.0}


@given(
    names=st.lists(st.text(max_size=8), unique=True, max_size=50),
    fraction=st.floats(0, 1),
    seed=st.integers(0, 2**32),
    others=st.lists(st.text(max_size=8), max_size=5),
)
def test_being_held_out_depends_on_customer_and_seed_alone(names, fraction, seed, others):
    alone = is_holdout(names, fraction, seed)
    among = is_holdout([*others, *names], fraction, seed)[len(others) :]
    assert alone.tolist() == among.tolist()
    # Models in the registry were trained on the others: this must not change.
    hashes = [xxhash.xxh3_64_intdigest(name.encode(), seed=seed) for name in names]
    assert alone.tolist() == [bool(np.uint64(digest) / 2.0**64 < fraction) for digest in hashes]


def test_the_split_is_disjoint_complete_and_about_the_asked_size():
    table = build(many(5_000))
    split = split_holdout(table)
    train, holdout = set(split.train.entities), set(split.holdout.entities)
    assert not train & holdout
    assert train | holdout == set(table.entities)
    # Five standard deviations of a binomial around 1,000.
    assert abs(len(holdout) - 1_000) < 5 * (5_000 * 0.2 * 0.8) ** 0.5
    row = dict(zip(table.entities, table.x[:, 0], strict=True))
    assert all(row[name] == value for name, value in zip(split.holdout.entities, split.holdout.x[:, 0], strict=True))
    assert split.holdout.raw["customer_id"].tolist() == list(split.holdout.entities)
    other = build_feature_table(many(5_000), Features(), "churn", seed=1)
    assert set(split_holdout(other).holdout.entities) != holdout


def test_data_that_cannot_train_a_model_is_refused():
    with pytest.raises(InputError, match="have the same label, churn=0"):
        build(made_of([{"customer_id": f"c-{i}", "event_time": i, "m": float(i), "churn": 0} for i in range(9)], {}))
    with pytest.raises(InputError, match="no column that can be a feature"):
        build(many(50), exclude=("minutes",))
    empty = many(10)
    with pytest.raises(EmptyInputError, match="no usable events"):
        build_feature_table(empty, Features(), "churn", as_of=dt.datetime(2020, 1, 1, tzinfo=dt.UTC))
    with pytest.raises(InputError, match=r"hold-out has 0 customers"):
        split_holdout(build(many(50), holdout_fraction=0.0))
