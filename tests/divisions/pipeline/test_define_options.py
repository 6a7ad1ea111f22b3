"""``features.define``: what it means, and what every mistake is told."""

import pytest

from divisions.errors import PipelineError
from divisions.pipeline.definition import Label
from divisions.pipeline.feature_definition import (
    ALL_TIME,
    Absence,
    Aggregate,
    Condition,
    FeatureDefinition,
    Operator,
    Truth,
    Window,
)
from divisions.pipeline.file import parse_pipeline

REST = """\
pipeline: shop
stages:
  data_prep:
    input: data
  deployment:
    endpoint: /api/v2/predict/churn
features:
  event_time: happened
"""
LINES_BEFORE = REST.count("\n") + 1
BOUGHT = (Condition("event", Operator.IN, ("purchase",)),)


def define(*lines):
    return REST + "  define:\n" + "".join(f"    {line}\n" for line in lines)


def read(*lines):
    return parse_pipeline(define(*lines), "f.yaml").features.define


def problems(text):
    with pytest.raises(PipelineError) as caught:
        parse_pipeline(text, "f.yaml")
    found = (caught.value, *caught.value.others)
    return [(one.line - LINES_BEFORE, one.column, f"{one.message}. {one.remedy}") for one in found]


@pytest.mark.parametrize(
    ("line", "meaning"),
    [
        ("plan: last", FeatureDefinition("plan", Aggregate.LAST, "plan")),
        ("amount: mean", FeatureDefinition("amount", Aggregate.MEAN, "amount")),
        ("country: {last: geo.country}", FeatureDefinition("country", Aggregate.LAST, "geo.country")),
        (
            "n: {count: event, where: {event: purchase}, over: 12h}",
            FeatureDefinition("n", Aggregate.COUNT, "event", BOUGHT, (Window(12, "h"),)),
        ),
        (
            "n: {sum: amount, over: [7d, 4w, all]}",
            FeatureDefinition(
                "n", Aggregate.SUM, "amount", (), (Window(7, "d"), Window(4, "w"), ALL_TIME), is_listed=True
            ),
        ),
        ("n: {min: amount, over: all}", FeatureDefinition("n", Aggregate.MIN, "amount")),
    ],
)
def test_an_entry_is_a_definition(line, meaning):
    assert read(line) == (meaning,)


def test_a_list_of_windows_makes_a_feature_of_each():
    (one,) = read("spend: {sum: amount, over: [7d]}")
    (two,) = read("spend: {sum: amount, over: 7d}")
    (three,) = read("spend: {sum: amount, over: [12h, all]}")
    assert (one.names, two.names, three.names) == (("spend_7d",), ("spend",), ("spend_12h", "spend_all"))


@pytest.mark.parametrize(
    ("where", "meaning"),
    [
        ("{e: a}", [("e", Operator.IN, ("a",))]),
        ("{e: [a, b]}", [("e", Operator.IN, ("a", "b"))]),
        ("{e: 7}", [("e", Operator.IN, (7.0,))]),
        ('{e: "007"}', [("e", Operator.IN, ("007",))]),
        ("{e: true}", [("e", Operator.IN, (Truth.YES,))]),
        ('{e: "true"}', [("e", Operator.IN, ("true",))]),
        ("{e: {not: [a, 1]}}", [("e", Operator.NOT, ("a", 1.0))]),
        (
            "{e: {above: 1, at_most: 2.5}, f: {at_least: -1}, g: {below: 1e3}}",
            [
                ("e", Operator.ABOVE, (1.0,)),
                ("e", Operator.AT_MOST, (2.5,)),
                ("f", Operator.AT_LEAST, (-1.0,)),
                ("g", Operator.BELOW, (1000.0,)),
            ],
        ),
        ("{2024: x}", [("2024", Operator.IN, ("x",))]),
    ],
)
def test_conditions_take_values_lists_and_comparisons(where, meaning):
    (definition,) = read(f"n: {{count: event, where: {where}}}")
    assert definition.where == tuple(Condition(*one) for one in meaning)


@pytest.mark.parametrize(
    ("line", "column", "told"),
    [
        ("zip: lst", 10, "did you mean 'last'?"),
        ("zip: xyz", 10, "unknown aggregate 'xyz'. the aggregates are last, count, sum"),
        ("zip: {median: a}", 11, "unknown key 'median'. did you mean 'mean'?"),
        ("n: {sum: a, wher: {b: c}}", 17, "did you mean 'where'?"),
        ("n: {over: 7d}", 8, "no aggregate. write one of last"),
        ("n: {sum: a, max: b}", 8, "2 aggregates: sum, max"),
        ("n: {sum: a, over: 7}", 23, "must be text, got the number 7"),
        ("n: {sum: a, over: 7m}", 23, "'7m' is not a window of time. write hours, days or weeks as 12h, 7d or 4w"),
        ("n: {sum: a, over: 0d}", 23, "'0d' is not a window"),
        ("n: {sum: a, over: [7d, x]}", 28, "'x' is not a window"),
        ("n: {sum: a, over: [7d, 7d]}", 23, "names a window twice"),
        ("n: {sum: a, over: []}", 23, "must have 1 to 20 items"),
        ("n: {sum: a, where: {}}", 24, "must be conditions"),
        ("n: {sum: a, where: event = purchase}", 24, "must be conditions"),
        ("n: {sum: a, where: {b: {abov: 3}}}", 29, "did you mean 'above'?"),
        ("n: {sum: a, where: {b: {above: x}}}", 36, "must be a number"),
        ('n: {sum: a, where: {b: {above: "3"}}}', 36, "must be a number"),
        ("n: {sum: a, where: {b: {}}}", 28, "must be a value or a comparison"),
        ("n: {sum: a, where: {b: }}", 27, "must be a value"),
        ('n: {sum: a, where: {b: " "}}', 28, "blank text"),
        ("n: {sum: 7}", 14, "must be text"),
        ("n: [sum]", 8, "must be text, got a list"),
        ('"": last', 9, "1 to 128 visible characters"),
        ("happened: last", 15, "named like the event time"),
        ("customer_id: last", 18, "named like the entity"),
        ("churn: {sum: a}", 12, "named like the label"),
        ("n: {last: churn}", 8, "uses the label 'churn', which is not known yet"),
        ("n: {sum: a, where: {churn: yes}}", 8, "uses the label 'churn'"),
    ],
)
def test_a_mistake_is_told_with_its_place_and_remedy(line, column, told):
    found = problems(define(line))
    assert [(row, place) for row, place, _ in found] == [(1, column)]
    assert told in found[0][2]


def test_all_mistakes_are_told_at_once():
    assert [row for row, _, _ in problems(define("a: lst", "b: last", "c: {sum: x, over: 7}"))] == [1, 3]


def test_names_that_clash_are_told_where_they_stand():
    found = problems(define("n: {sum: a, over: [7d, 30d]}", "n_7d: {count: a}"))
    assert [row for row, _, _ in found] == [1, 2]
    assert "feature 'n_7d' is defined twice" in found[0][2]


def test_nothing_defined_is_a_mistake():
    assert "defines no feature" in problems(REST + "  define: {}\n")[0][2]


@pytest.mark.parametrize(
    ("key", "told"),
    [
        ("numeric: [plann]", "'plann' is no feature of define. did you mean 'plan'?"),
        ("categorical: [n]", "the kind of 'n' is known: it is 'sum' of a column"),
        ("exclude: [amount]", "with define, columns are no features unless it names them"),
    ],
)
def test_other_keys_that_contradict_definitions_are_told(key, told):
    found = problems(define("plan: last", "n: {sum: amount}") + f"  {key}\n")
    assert told in found[0][2]


def test_the_kind_of_a_last_value_can_be_declared():
    text = define("zip: last") + "  categorical: [zip]\n"
    assert parse_pipeline(text).features.categorical == ("zip",)


def test_too_many_features_are_told():
    lines = [f"f{number}: {{sum: a, over: [1h, 2h, 3h, 4h, 5h, 6h, 7h, 8h, 9h, 10h, 11h]}}" for number in range(91)]
    assert "1,001 features are more than 1,000" in problems(define(*lines))[0][2]
    assert len(read(*lines[:-1], "f: {sum: a, over: [1h, 2h, 3h, 4h, 5h, 6h, 7h, 8h, 9h, 10h]}")) == 91


def label(text):
    return f"{define('n: last')}  label: {text}\n"


def test_a_label_is_a_column_or_the_absence_of_events():
    assert parse_pipeline(label("left")).features.label == Label("left")
    short = parse_pipeline(label("{absent: {event: purchase}, for: 30d}"))
    assert short.features.label.absence == Absence(BOUGHT, Window(30, "d"), Window(30, "d"), Window(30, "d"))
    assert short.label == "churn"
    long = parse_pipeline(label("{absent: {event: purchase}, for: 4w, active_within: 12h}"))
    assert long.features.label.absence == Absence(BOUGHT, Window(4, "w"), Window(12, "h"), Window(4, "w"))
    often = parse_pipeline(label("{absent: {event: purchase}, for: 30d, every: 1w, times: 6}"))
    assert often.features.label.absence == Absence(BOUGHT, Window(30, "d"), Window(30, "d"), Window(1, "w"), 6)
    assert parse_pipeline(label("{absent: {event: purchase}, for: 4w, times: 2}")).features.label.absence.every == (
        Window(4, "w")
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{absent: {event: purchase}}", "key 'for' is missing"),
        ("{for: 30d}", "key 'absent' is missing"),
        ("{absent: purchase, for: 30d}", "must be conditions"),
        ("{absent: {event: purchase}, for: all}", "must have an end, got all"),
        ("{absent: {event: purchase}, for: 30d, active_withn: 7d}", "did you mean 'active_within'?"),
        ("{absent: {event: purchase}, for: 30d, every: 30d}", "every says nothing about a single label"),
        ("{absent: {event: purchase}, for: 30d, every: all, times: 2}", "must have an end, got all"),
        ("{absent: {event: purchase}, for: 30d, times: 0}", "from 1 to 100"),
    ],
)
def test_a_wrong_label_is_told(text, told):
    assert [told in message for _, _, message in problems(label(text))] == [True]


def test_the_absence_of_events_needs_features_over_events():
    (problem,) = problems(REST + "  label: {absent: {event: purchase}, for: 30d}\n")
    assert "needs features over events. add define" in problem[2]


def test_a_feature_may_use_the_column_of_an_absent_event_but_not_the_label_s_name():
    text = define("churn: {count: event}") + "  label: {absent: {event: purchase}, for: 30d}\n"
    assert "named like the label" in problems(text)[0][2]
    text = define("n: {count: event, where: {event: purchase}}") + "  label: {absent: {event: purchase}, for: 30d}\n"
    assert parse_pipeline(text).features.define
