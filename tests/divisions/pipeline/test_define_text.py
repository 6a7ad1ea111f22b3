from hypothesis import given, settings
from hypothesis import strategies as st

from divisions.pipeline.columns_yaml import columns_yaml
from divisions.pipeline.definition import Features, Label
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
"""
NAMES = st.one_of(
    st.sampled_from(
        ["plan", "true", "No", "null", "7", "1e3", "a b", "it's", '"', "\\", "#", "- x", "é: ü", "😀", "~"]
    ),
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=12).filter(str.isprintable),
)
TEXTS = (NAMES | st.text(st.characters(codec="utf-8"), max_size=12)).map(str.strip).filter(bool)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.lists(TEXTS | NUMBERS | st.sampled_from(Truth), min_size=1, max_size=3).map(tuple)
WINDOWS = st.builds(Window, st.integers(1, 99_999), st.sampled_from("hdw")) | st.just(ALL_TIME)


@st.composite
def conditions(draw):
    found = []
    for column in draw(st.lists(NAMES, max_size=3, unique=True)):
        operators = draw(st.lists(st.sampled_from(list(Operator)), min_size=1, max_size=3, unique=True))
        for operator in [Operator.IN] if Operator.IN in operators else operators:
            values = draw(VALUES) if operator in {Operator.IN, Operator.NOT} else (draw(NUMBERS),)
            found.append(Condition(column, operator, values))
    return tuple(found)


@st.composite
def sections(draw):
    names = draw(st.lists(NAMES, min_size=8, max_size=8, unique=True))
    # No feature and no condition has such a name.
    entity, event_time, label = (f"{role} {name}" for role, name in zip("123", names, strict=False))
    rest = names[3:]
    define = []
    for name in rest:
        is_listed = draw(st.booleans())
        windows = draw(st.lists(WINDOWS, min_size=1, max_size=3 if is_listed else 1, unique=True))
        column = draw(st.sampled_from([name, "amount"]))
        aggregate = draw(st.sampled_from(list(Aggregate)))
        define.append(FeatureDefinition(name, aggregate, column, draw(conditions()), tuple(windows), is_listed))
    if (where := draw(conditions())) and draw(st.booleans()):
        horizon, every = (draw(WINDOWS.filter(lambda one: one != ALL_TIME)) for _ in range(2))
        times = draw(st.integers(1, 100))
        absent = Absence(where, horizon, Window(30, "d"), every if times > 1 else horizon, times)
        return Features(entity, Label(absence=absent), event_time, define=tuple(define))
    return Features(entity, Label(label), event_time, holdout_fraction=0.25, define=tuple(define))


def is_consistent(features):
    names = [name for one in features.define for name in one.names]
    roles = {features.entity, features.event_time, features.label.column or "churn"}
    return len(set(names)) == len(names) and not roles & set(names)


@settings(max_examples=100, deadline=None)
@given(sections().filter(is_consistent))
def test_what_is_written_is_read_back(features):
    assert parse_pipeline(REST + columns_yaml(features)).features == features


def test_the_common_features_are_short():
    bought = (Condition("event", Operator.IN, ("purchase",)),)
    define = (
        FeatureDefinition("plan", Aggregate.LAST, "plan"),
        FeatureDefinition("spend", Aggregate.SUM, "amount", windows=(Window(30, "d"),)),
        FeatureDefinition("bought", Aggregate.COUNT, "event", bought, (Window(7, "d"), ALL_TIME), is_listed=True),
    )
    assert columns_yaml(Features(label=Label("left"), define=define)) == (
        'features:\n  entity: "customer_id"\n  event_time: "event_time"\n  label: "left"\n  define:\n    plan: last\n'
        "    spend: {sum: amount, over: 30d}\n"
        "    bought: {count: event, where: {event: purchase}, over: [7d, all]}\n"
    )
