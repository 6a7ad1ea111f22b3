"""Stored values read in another kind: as trainers read a column of that kind."""

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from divisions.schema import FeatureKind
from divisions.stored_values import read_as, text_of
from tests.trainers.data.rows import column_of
from trainers.data.column_kinds import cast

VALUES = (
    st.text(max_size=8)
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(-1e30, 1e30)
    | st.sampled_from(["408", "0408", " 1.5 ", "1e3", "nan", "inf", "1_000", "٣", "0x1F", "Yes", "TRUE", ".5", "-2."])
)


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (FeatureKind.CATEGORICAL, 408, "408"),
        (FeatureKind.CATEGORICAL, 408.0, "408"),
        (FeatureKind.CATEGORICAL, 408.5, "408.5"),
        (FeatureKind.CATEGORICAL, True, "true"),
        (FeatureKind.CATEGORICAL, "0408", "0408"),
        (FeatureKind.NUMERIC, "408", 408.0),
        (FeatureKind.NUMERIC, 408, 408),
        (FeatureKind.BOOLEAN, "No", False),
        (FeatureKind.BOOLEAN, 1, True),
        (FeatureKind.BOOLEAN, True, True),
    ],
)
def test_a_value_is_read_in_another_kind(kind, value, expected):
    read = read_as(kind, value)
    assert (read, type(read)) == (expected, type(expected))


@pytest.mark.parametrize("kind", FeatureKind)
def test_null_stays_missing(kind):
    assert read_as(kind, None) is None


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (FeatureKind.NUMERIC, "basic"),
        (FeatureKind.NUMERIC, True),
        (FeatureKind.NUMERIC, "nan"),
        (FeatureKind.NUMERIC, "1e999"),
        (FeatureKind.NUMERIC, ["1"]),
        (FeatureKind.BOOLEAN, 2),
        (FeatureKind.BOOLEAN, "maybe"),
        (FeatureKind.CATEGORICAL, {"a": 1}),
    ],
)
def test_a_value_without_a_form_in_the_kind_is_an_error(kind, value):
    with pytest.raises(ValueError, match="a "):
        read_as(kind, value)


@given(kind=st.sampled_from(FeatureKind), value=VALUES)
@example(FeatureKind.NUMERIC, "1" * 400)
def test_a_gateway_and_a_trainer_read_a_value_alike(kind, value):
    (column,) = cast(column_of([value]), kind).to_arrow().to_pylist()
    try:
        read = read_as(kind, value)
    except ValueError:
        read = None
    if kind is FeatureKind.NUMERIC and isinstance(read, float | int) and abs(read) > 3.4e38:
        return  # a trainer calls it bad, a gateway refuses it when it packs the row
    assert (read is None) == (column is None)
    if read is None:
        return
    assert column == pytest.approx(read, rel=0, abs=0) if kind is FeatureKind.NUMERIC else column == read


@given(st.integers(-(2**53), 2**53) | st.floats(-1e15, 1e15))
def test_a_number_survives_being_text(number):
    assert read_as(FeatureKind.NUMERIC, text_of(number)) == number
    assert math.isfinite(number)
