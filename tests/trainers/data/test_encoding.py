"""Whole tables are encoded exactly as the schema encodes one row, which is what the gateway does too."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from divisions.schema import Feature, FeatureKind, FeatureSchema
from trainers.data.column_kinds import cast
from trainers.data.encoding import encode_frame

F32 = float(np.finfo(np.float32).max)
SCHEMA = FeatureSchema(
    (
        Feature("minutes", FeatureKind.NUMERIC),
        Feature("calls", FeatureKind.NUMERIC),
        Feature("plan", FeatureKind.CATEGORICAL, ("basic", "gold", "é")),
        Feature("active", FeatureKind.BOOLEAN),
    )
)
_rows = st.lists(
    st.fixed_dictionaries(
        {
            "minutes": st.none() | st.floats(min_value=-F32, max_value=F32),
            "calls": st.none() | st.integers(-(2**62), 2**62),
            "plan": st.none() | st.sampled_from(["basic", "gold", "é", "", "NA"]) | st.text(max_size=4),
            "active": st.none() | st.booleans(),
        }
    ),
    min_size=1,
    max_size=20,
)


@settings(max_examples=200, deadline=None)
@given(rows=_rows, is_object=st.booleans())
def test_a_table_is_encoded_as_its_rows_are(rows, is_object):
    frame = pd.DataFrame(rows, dtype=object if is_object else None)
    x_NF = encode_frame(SCHEMA.features, frame)
    # A typed column of whole numbers with gaps is one of doubles, before we ever see it: compare with what it holds.
    plain = [
        {name: None if pd.isna(value) else value for name, value in zip(frame.columns, row, strict=True)}
        for row in zip(*(frame[name].tolist() for name in frame.columns), strict=True)
    ]
    expected = np.array([SCHEMA.encode_row(row) for row in plain], dtype=np.float32)
    assert x_NF.dtype == np.float32
    np.testing.assert_array_equal(x_NF, expected)


def test_an_absent_column_is_missing():
    x_NF = encode_frame(SCHEMA.features, pd.DataFrame({"calls": [1, 2]}))
    assert x_NF.shape == (2, 4)
    assert x_NF[:, 1].tolist() == [1.0, 2.0]
    assert np.isnan(np.delete(x_NF, 1, axis=1)).all()


def test_one_and_true_stay_apart_when_cast():
    column, is_bad = cast(pd.Series([1, True, "x", 1.0], dtype=object), FeatureKind.CATEGORICAL)
    assert column.tolist() == ["1", "true", "x", "1"]
    assert not is_bad.any()
    column, is_bad = cast(pd.Series([1, True, "x"], dtype=object), FeatureKind.NUMERIC)
    assert is_bad.tolist() == [False, True, True]


@pytest.mark.parametrize("value", [np.inf, -np.inf, 3.5e38, "1e39", "inf", 10**400])
def test_a_value_beyond_float32_is_no_number(value):
    column, is_bad = cast(pd.Series([1.0, value], dtype=object), FeatureKind.NUMERIC)
    assert is_bad.tolist() == [False, True]
    assert np.isnan(column.iloc[1])


_odd = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 3), st.sampled_from([0.0, 1.0, 0.5, "1", "yes", "gold"]), st.just([1])
)


@given(st.lists(_odd, max_size=12), st.sampled_from([FeatureKind.CATEGORICAL, FeatureKind.BOOLEAN]))
def test_each_value_is_cast_as_if_it_were_alone(values, kind):
    together, is_bad = cast(pd.Series(values, dtype=object), kind)
    for index, value in enumerate(values):
        alone, is_bad_alone = cast(pd.Series([value], dtype=object), kind)
        assert (together[index], is_bad[index]) == (alone[0], is_bad_alone[0])
