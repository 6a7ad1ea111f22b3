"""Defined features from files to rows: against a plain loop, in each format, and what is told."""

from __future__ import annotations

import datetime as dt
import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from divisions.errors import EmptyInputError, InputError, MissingColumnError
from divisions.pipeline.definition import Features, Label
from divisions.pipeline.feature_definition import Absence, Aggregate, FeatureDefinition, Window
from divisions.pipeline.file import parse_pipeline
from divisions.schema import FeatureKind
from divisions.settings import S3Settings
from tests.trainers.features import naive
from trainers.data.ingest import Reading, read_events
from trainers.data.known_kinds import NOTHING_KNOWN, KnownKinds

START = dt.datetime(2025, 1, 1, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
REST = """\
pipeline: shop
stages:
  data_prep: {input: data}
  deployment: {endpoint: /api/v2/predict/churn}
features:
"""


def features(text):
    lines = "".join(f"  {line}\n" for line in text.strip().splitlines())
    return parse_pipeline(REST + lines).features


LABEL = "event_time: happened\nlabel: {absent: {event: buy}, for: 7d}\n"
SHOP = features("""
event_time: happened
label: {absent: {event: buy}, for: 7d}
define:
  plan: last
  bought: {count: event, where: {event: buy}, over: [1d, 7d]}
  spend: {sum: amount, over: 7d}
""")


def event(customer, day, event="view", amount=None, plan=None, **more):
    return {
        "customer_id": customer,
        "happened": START + day * DAY,
        "event": event,
        "amount": amount,
        "plan": plan,
    } | more


EVENTS = [
    event("a", 0, plan="old"),
    event("a", 9, "buy", 5.0, plan="new"),
    event("a", 10, "buy", 7.0),
    event("b", 9.5, "buy", 1.0, plan="new"),
    event("b", 12, "buy", 100.0, plan="later"),
    event("gone", 1, "buy", 50.0),
    event("c", 17, "view"),
]


def read(folder, spec, *, as_of=None, known=NOTHING_KNOWN, label="churn"):
    reading = Reading(as_of=as_of, newest=folder.with_name(f"{folder.name}-newest.parquet"))
    return read_events(
        str(folder), s3=S3Settings(), allow_buckets=(), features=spec, label=label, reading=reading, known=known
    )


def write(folder, rows, form="parquet"):
    folder.mkdir(exist_ok=True)
    frame = pd.DataFrame(rows)
    path = folder / f"events.{form}"
    match form:
        case "parquet":
            frame.to_parquet(path, index=False)
        case "csv":
            frame.to_csv(path, index=False)
        case "jsonl":
            frame.to_json(path, orient="records", lines=True, date_format="iso")
    return folder


def rows_of(frame, names):
    """Rows by customer, null as None."""
    found = {}
    for row in frame.to_dict("records"):
        values = [row[name] for name in names]
        found[row["customer_id"]] = [None if isinstance(v, float) and np.isnan(v) else v for v in values]
    return found


def newest_of(events):
    frame = pd.read_parquet(events.newest.path).rename(columns={"entity": "customer_id"})
    renamed = frame.rename(columns={f"f{index}": name for index, name in enumerate(events.newest.columns)})
    return rows_of(renamed, events.newest.columns), set(renamed["happened"])


@pytest.mark.parametrize("form", ["parquet", "csv", "jsonl"])
def test_training_rows_end_where_their_label_begins_and_newest_rows_with_the_newest_event(tmp_path, form):
    events = read(write(tmp_path / "in", EVENTS, form), SHOP)
    names = [*events.kinds, "churn"]
    assert list(events.kinds) == ["plan", "bought_1d", "bought_7d", "spend"]
    # The newest event is of day 17, so labels are those of day 10. On it a bought; of b, day 12 must not be known.
    assert rows_of(events.frame, names) == {"a": ["new", 1, 2, 12.0, 1], "b": ["new", 1, 1, 1.0, 0]}
    assert set(events.frame["happened"]) == {pd.Timestamp(START + 10 * DAY)}
    newest, times = newest_of(events)
    assert newest == {
        "a": ["new", 0, 0, 0.0],
        "b": ["later", 0, 1, 100.0],
        "gone": [None, 0, 0, 0.0],
        "c": [None, 0, 0, 0.0],
    }
    assert times == {pd.Timestamp(START + 17 * DAY).tz_localize(None)}
    assert events.num_newest == 4


def test_the_run_of_an_earlier_day_is_as_if_later_events_had_not_happened(tmp_path):
    now = read(write(tmp_path / "in", EVENTS), SHOP, as_of=START + 12 * DAY)
    before = read(write(tmp_path / "before", [one for one in EVENTS if one["happened"] <= START + 12 * DAY]), SHOP)
    assert now.frame.equals(before.frame)
    assert newest_of(now) == newest_of(before)
    assert any("1 events after 2025-01-13 00:00 UTC are left out" in note for note in now.notes)


LABELLED = features("""
event_time: happened
label: left
define:
  plan: last
  seen: {count: happened}
  spend: {sum: amount}
""")


def test_a_label_in_a_column_is_learned_from_with_the_events_up_to_it(tmp_path):
    rows = [
        event("a", 1, amount=1.0, plan="x", left=None),
        event("a", 3, amount=2.0, left=True),
        event("a", 4, amount=4.0, plan="leak", left=None),
        event("b", 2, amount=8.0, left=False),
        event("b", 3, amount=16.0, left=True),
        event("new", 4, amount=32.0, left=None),
    ]
    events = read(write(tmp_path / "in", rows), LABELLED, label="left")
    assert rows_of(events.frame, ["plan", "seen", "spend", "left"]) == {"a": ["x", 2, 3.0, 1], "b": [None, 2, 24.0, 1]}
    newest, _ = newest_of(events)
    assert newest == {"a": ["leak", 3, 7.0], "b": [None, 2, 24.0], "new": [None, 1, 32.0]}
    assert any("1 of 3 customers have no left" in note for note in events.notes)


def test_events_at_one_time_are_several_and_only_copies_are_duplicates(tmp_path):
    first = [event("a", 1, "buy", 5.0), event("a", 1, "buy", 6.0), event("a", 1, "view"), event("a", 9)]
    copies = [event("a", 1, "buy", 5.0), event("a", 1, "view")]
    folder = tmp_path / "in"
    for day, rows, form in (
        ("1", first, "parquet"),
        ("2", copies, "csv"),
        ("3", [event("a", 1, "buy", 6.5)], "parquet"),
    ):
        (folder / f"day={day}").mkdir(parents=True)
        write(folder / f"day={day}", rows, form)
    spec = features(
        "event_time: happened\nlabel: {absent: {event: buy}, for: 1d, active_within: 30d}\n"
        "define:\n  spend: {sum: amount}\n  seen: {count: happened}"
    )
    events = read(folder, spec)
    assert newest_of(events)[0] == {"a": [17.5, 5]}
    assert events.reasons == {"duplicate event": 2}
    assert events.num_read == 7


def test_labels_that_contradict_each_other_are_not_learned_from_but_their_events_count(tmp_path):
    rows = [
        event("a", 1, "view", 1.0, left=True),
        event("a", 1, "buy", 2.0, left=False),
        event("b", 1, amount=4.0, left=True),
        event("b", 1, amount=8.0, left=True),
        event("c", 1, amount=16.0, left=False),
    ]
    events = read(write(tmp_path / "in", rows), LABELLED, label="left")
    assert rows_of(events.frame, ["spend", "left"]) == {"b": [12.0, 1], "c": [16.0, 0]}
    assert newest_of(events)[0]["a"] == [2, 3.0]
    assert events.reasons == {"conflicting label": 2}


def test_bad_rows_are_no_events(tmp_path):
    rows = [*EVENTS, event(None, 10, "buy", 1e6), {**event("a", 10, "buy", 1e6), "happened": None}]
    events = read(write(tmp_path / "in", rows), SHOP)
    assert events.num_quarantined == 2
    assert rows_of(events.frame, ["spend"])["a"] == [12.0]


def test_hostile_names_and_values_are_only_names_and_values(tmp_path):
    column, value = """a"b'c; DROP TABLE judged --""", """x' OR 'y"""
    rows = [{**event("a", day), column: text} for day, text in enumerate([value, value, "z"])]
    spec = Features(
        event_time="happened",
        define=(
            FeatureDefinition(column, Aggregate.LAST, column),
            FeatureDefinition("n", Aggregate.COUNT, column, naive_where(column, value)),
        ),
        label=Label(absence=Absence(naive_where(column, value), Window(1, "d"), Window(9, "d"), Window(1, "d"))),
    )
    events = read(write(tmp_path / "in", rows), spec)
    assert newest_of(events)[0] == {"a": ["z", 2]}
    assert rows_of(events.frame, [column, "n", "churn"]) == {"a": [value, 2, 1]}


def naive_where(column, value):
    from divisions.pipeline.feature_definition import Condition, Operator

    return (Condition(column, Operator.IN, (value,)),)


@pytest.mark.parametrize("column", ["plan", "event", "amount"])
def test_a_column_that_is_not_there_is_told_with_the_line_and_the_nearest(tmp_path, column):
    spec = features("""
event_time: happened
label: {absent: {event: buy}, for: 7d}
define:
  n: {sum: amount, where: {event: buy}}
  plan: last
""")
    rows = [{f"{name}s" if name == column else name: value for name, value in one.items()} for one in EVENTS]
    with pytest.raises(MissingColumnError) as caught:
        read(write(tmp_path / "in", rows), spec)
    line = {"plan": 10, "event": 9, "amount": 9}[column]
    assert f"lacks the column {column!r} of features.define." in caught.value.message
    assert f"correct line {line} of the pipeline file (nearest: '{column}s')" in caught.value.remedy


def test_a_sum_of_texts_is_refused_and_stray_texts_are_told(tmp_path):
    spec = features(f"{LABEL}define:\n  n: {{sum: plan}}")
    with pytest.raises(InputError, match="'n' takes the sum of 'plan', in which no value is a number"):
        read(write(tmp_path / "in", EVENTS), spec)
    rows = [*EVENTS, event("a", 3, plan="7.5")]
    events = read(write(tmp_path / "in", rows), spec)
    assert newest_of(events)[0]["a"] == [7.5]
    assert "column 'plan': 4 of 5 values are no number and count as missing" in events.notes


def test_sums_are_of_numbers_as_people_write_them(tmp_path):
    spec = features(f"{LABEL}define:\n  n: {{sum: plan}}")
    rows = [*(one | {"plan": None} for one in EVENTS), event("a", 3, plan="$1,200.50"), event("a", 4, plan="$2")]
    events = read(write(tmp_path / "in", rows), spec)
    assert newest_of(events)[0]["a"] == [1202.5]
    assert any("numbers such as '$1,200.50' are read with a decimal point" in note for note in events.notes)


def test_events_of_too_few_days_for_the_label_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"span 2\.0 days, .* too few to see who did nothing for 7d"):
        read(write(tmp_path / "in", [event("a", 0), event("a", 2)]), SHOP)


def test_no_event_up_to_the_day_of_the_run_is_told(tmp_path):
    with pytest.raises(EmptyInputError, match="no usable events up to the run's day"):
        read(write(tmp_path / "in", EVENTS), SHOP, as_of=START - DAY)


OFTEN = features("""
event_time: happened
label: {absent: {event: buy}, for: 2d, active_within: 3d, every: 2d, times: 3}
define:
  spend: {sum: amount, over: 30d}
""")


def test_several_labels_give_a_customer_several_rows_each_as_of_its_time(tmp_path):
    rows = [event("a", day, "buy", 1.0) for day in range(8)] + [event("b", 3, "buy", 8.0), event("c", 0, "view", 2.0)]
    events = read(write(tmp_path / "in", rows), OFTEN)
    found = [(row.customer_id, (row.happened - START).days, row.spend, row.churn) for row in events.frame.itertuples()]
    # Labels of the days 5, 3 and 1, in the order of customers and times.
    assert found == [
        ("a", 1, 2.0, 0),
        ("a", 3, 4.0, 0),
        ("a", 5, 6.0, 0),
        ("b", 3, 8.0, 1),
        ("b", 5, 8.0, 1),
        ("c", 1, 2.0, 1),
    ]
    assert newest_of(events)[0] == {"a": [8.0], "b": [8.0], "c": [2.0]}
    told = "labels look at the 2d after each of 3 times, every 2d up to 2025-01-06 00:00 UTC: 3 customers were active"
    assert any(note.startswith(told) and "by 6 rows; 0 others" in note for note in events.notes)
    fewer = read(write(tmp_path / "few", rows[1:]), OFTEN)
    (note,) = (note for note in fewer.notes if note.startswith("labels look"))
    assert "3 times" in note
    shorter = [one for one in rows if one["happened"] >= START + 3 * DAY]
    (note,) = (note for note in read(write(tmp_path / "short", shorter), OFTEN).notes if note.startswith("labels look"))
    assert "each of 2 times of 3, since the events begin on 2025-01-04 00:00 UTC, every 2d" in note
    assert any(note.startswith("windows of 30d are longer than the 1.0 days of events before") for note in events.notes)


def test_windows_longer_than_the_data_and_old_data_are_told(tmp_path):
    spec = features(
        "event_time: happened\nlabel: {absent: {event: buy}, for: 7d}\n"
        "define:\n  n: {count: event, over: [1d, 10d, 90d]}"
    )
    events = read(write(tmp_path / "in", EVENTS), spec, as_of=START + 30 * DAY)
    assert any(note.startswith("windows of 90d are longer than the 10.0 days of events") for note in events.notes)
    assert any(note.startswith("the newest event is of 2025-01-18 00:00 UTC, 13 days before") for note in events.notes)
    fresh = read(write(tmp_path / "in", EVENTS), spec, as_of=START + 18 * DAY)
    assert not any("newest event" in note for note in fresh.notes)


def test_kinds_of_last_values_are_declared_known_or_inferred(tmp_path):
    rows = [event("a", day, zip=f"0{day}", flag=bool(day % 2), lists=[day]) for day in range(9)]
    text = f"{LABEL}{{}}define:\n  zip: last\n  flag: last\n  lists: last"
    folder = write(tmp_path / "in", rows)
    inferred = read(folder, features(text.replace("{}", "")))
    assert inferred.kinds == {"zip": FeatureKind.CATEGORICAL, "flag": FeatureKind.BOOLEAN}
    assert any("feature 'lists' left out" in note for note in inferred.notes)
    declared = read(folder, features(text.replace("{}", "numeric: [zip]\n")))
    assert declared.kinds["zip"] is FeatureKind.NUMERIC
    kinds = {"zip": FeatureKind.NUMERIC, "gone": FeatureKind.NUMERIC}
    with pytest.raises(InputError, match=r"'zip' .* was numeric in version 3\.1"):
        read(folder, features(text.replace("{}", "")), known=KnownKinds("3.1", kinds))
    known = read(folder, features(text.replace("{}", "categorical: [zip]\n")), known=KnownKinds("3.1", kinds))
    assert any("this version cannot be served beside it" in note for note in known.notes)
    assert any("version 3.1 also has gone" in note for note in known.notes)


ABSENCES = st.builds(
    Absence,
    st.tuples(naive.CONDITIONS),
    st.sampled_from([Window(1, "h"), Window(1, "d")]),
    st.just(Window(7, "d")),
    st.sampled_from([Window(1, "h"), Window(6, "h"), Window(1, "d"), Window(2, "d")]),
    st.integers(1, 5),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(found=naive.definitions(), events=naive.EVENTS.filter(bool), absence=ABSENCES)
def test_both_sets_of_rows_are_those_of_a_plain_loop(tmp_path, found, events, absence):
    """Through a file: training rows at each label's time, newest rows at the newest event, copies counted once."""
    rows = list(dict.fromkeys(events))
    newest, first = max(one.happened for one in rows), min(one.happened for one in rows)
    horizon, every = (dt.timedelta(microseconds=one.microseconds) for one in (absence.horizon, absence.every))
    times = [newest - horizon - number * every for number in range(absence.times)]
    times = [at for at in times if at >= first]
    if not times:
        return
    spec = Features("customer", Label(absence=absence), naive.TIME, define=tuple(found), **declared(found))
    folder = tmp_path / "in"
    names = ["customer", naive.TIME, *naive.SQL_TYPES]
    frame = pd.DataFrame(
        [[one.entity, one.happened, one.text, one.amount, one.flag, one.joined] for one in events], columns=names
    )
    frame["absent"] = None
    types = {"amount": float, "joined": "datetime64[us, UTC]", naive.TIME: "datetime64[us, UTC]"}
    folder.mkdir(exist_ok=True)
    frame.astype(types).to_parquet(folder / "events.parquet", index=False)
    try:
        got = read_events(
            str(folder),
            s3=S3Settings(),
            allow_buckets=(),
            features=spec,
            label="churn",
            reading=Reading(newest=tmp_path / "newest.parquet"),
        )
    except InputError:  # most rows are copies, or a column has no value
        return
    features = [(name, one, window) for one in found for name, window in zip(one.names, one.windows, strict=True)]
    features = [feature for feature in features if feature[0] in got.kinds]

    def expected(entity, time):
        return [naive.feature(one, window, rows, entity, time) for _, one, window in features]

    newest_rows = pd.read_parquet(got.newest.path)
    assert set(newest_rows["entity"]) == {one.entity for one in rows}
    for row in newest_rows.to_dict("records"):
        values = [row[f"f{index}"] for index in range(len(features))]
        assert plain(values) == approximately(expected(row["entity"], newest))
    wanted = {}
    for entity, at in itertools.product({one.entity for one in rows}, times):
        own = [one for one in rows if one.entity == entity]
        if any(at - 7 * DAY < one.happened <= at for one in own):
            meant = [one for one in own if all(naive.holds(condition, one) for condition in absence.where)]
            wanted[entity, pd.Timestamp(at)] = int(not any(at < one.happened <= at + horizon for one in meant))
    keys = list(zip(got.frame["customer"], got.frame[naive.TIME], strict=True))
    assert dict(zip(keys, got.frame["churn"], strict=True)) == wanted
    assert len(keys) == len(wanted)
    for row in got.frame.to_dict("records"):
        at = row[naive.TIME].to_pydatetime()
        assert plain([row[name] for name, _, _ in features]) == approximately(expected(row["customer"], at))


def declared(found):
    """Kinds of last values, so that a column without any value has one, too."""
    by_kind = {kind: [] for kind in FeatureKind}
    for one in found:
        if one.aggregate is Aggregate.LAST:
            by_kind[naive.KINDS[one.column]] += one.names
    return {kind.value: tuple(names) for kind, names in by_kind.items()}


def plain(values):
    return [None if value is None or (isinstance(value, float) and np.isnan(value)) else value for value in values]


def approximately(values):
    return [pytest.approx(v, rel=1e-12) if isinstance(v, float) else v for v in values]
