"""Online rows against offline rows: each difference is found, and what explains itself is none."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from divisions.schema import Feature, FeatureKind, FeatureSchema
from trainers.data.online_check import MAX_SHOWN, Difference, compare

SCHEMA = FeatureSchema(
    (
        Feature("minutes", FeatureKind.NUMERIC),
        Feature("plan", FeatureKind.CATEGORICAL, ("gold",)),
        Feature("abroad", FeatureKind.BOOLEAN),
    )
)


def row(name, at_s=1.0, **features):
    return (name, msgspec.json.encode({"minutes": 1.0, "plan": "gold", "abroad": True} | features), at_s)


def check(offline, online, deleted=(), sample=10):
    by_id = {each[0]: each for each in online}

    def read(keys):
        return {key: by_id[key] for key in keys if key in by_id}

    return compare([offline], read, SCHEMA, deleted, sample)


def test_the_same_rows_do_not_differ_whatever_their_spelling_is():
    offline = [row("a", minutes=7.0, plan=408.0, abroad=None), row("b")]
    online = [row("a", minutes=7, plan="408", abroad=None, unused="x"), row("b"), row("of another partition")]
    found = check(offline, online)
    assert (found.num_compared, found.num_differences) == (2, 0)
    assert found.sample == {
        "a": {"minutes": 7.0, "plan": "408", "abroad": None},
        "b": {"minutes": 1.0, "plan": "gold", "abroad": True},
    }


def test_a_difference_names_customer_feature_and_both_values():
    found = check([row("a", minutes=7.0, plan=None)], [row("a", minutes=8.0, plan="x", abroad="perhaps")])
    assert found.num_differences == 3
    assert found.differences == [
        Difference("a", "minutes", 7.0, 8.0),
        Difference("a", "plan", None, "x"),
        Difference("a", "abroad", True, "perhaps"),
    ]


def test_two_unknown_texts_are_different_though_a_model_takes_them_alike():
    assert check([row("a", plan="x")], [row("a", plan="y")]).num_differences == 1


def test_customers_that_are_not_as_they_should_be():
    offline = [row("gone"), row("older", 5.0), row("newer", 5.0), row("deleted"), row("revived")]
    online = [row("older", 4.0), row("newer", 6.0, minutes=99), row("revived")]
    found = check(offline, online, {"deleted": 1.0, "revived": 1.0})
    assert (found.num_compared, found.num_newer, found.num_deleted) == (0, 1, 1)
    assert found.differences == [
        Difference("gone", "(customer)", "present", None),
        Difference("older", "(event_time)", 5.0, 4.0),
        Difference("revived", "(deleted customer)", None, "stored"),
    ]


def test_differences_are_counted_also_beyond_those_that_are_kept():
    rows = [row(str(number)) for number in range(MAX_SHOWN + 5)]
    found = check(rows, [])
    assert (found.num_differences, len(found.differences)) == (MAX_SHOWN + 5, MAX_SHOWN)


@given(st.permutations([str(number) for number in range(30)]), st.integers(0, 40))
def test_the_sample_does_not_depend_on_the_order(names, size):
    rows = [row(name) for name in names]
    in_order = [row(str(number)) for number in range(30)]
    found = check(rows, rows, sample=size)
    assert len(found.sample) == min(size, 30)
    assert set(found.sample) == set(check(in_order, in_order, sample=size).sample)


values = st.fixed_dictionaries(
    {
        "minutes": st.none() | st.floats(allow_nan=False, allow_infinity=False),
        "plan": st.none() | st.text(),
        "abroad": st.none() | st.booleans(),
    }
)


@given(st.lists(st.tuples(values, values), max_size=8))
def test_exactly_the_changed_values_are_found(pairs):
    offline = [row(str(index), **before) for index, (before, _) in enumerate(pairs)]
    online = [row(str(index), **after) for index, (_, after) in enumerate(pairs)]
    expected = {
        (str(index), name)
        for index, (before, after) in enumerate(pairs)
        for name in before
        if before[name] != after[name]
    }
    assert {(one.entity_id, one.what) for one in check(offline, online).differences} == expected
