"""Whole tables are encoded exactly as the schema encodes one row, which is what the gateway does too."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from divisions.schema import Feature, FeatureKind, FeatureSchema
from divisions.stored_values import read_as
from tests.trainers.data.rows import column_of, columns_of
from trainers.data.column_kinds import cast
from trainers.data.encoding import encode_columns

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
@given(rows=_rows)
def test_a_table_is_encoded_as_its_rows_are(rows):
    frame = pd.DataFrame(rows)
    x_NF = encode_columns(SCHEMA.features, columns_of(frame), len(frame))
    # A typed column of whole numbers with gaps is one of doubles, before we ever see it: compare with what it holds.
    plain = [
        {name: None if pd.isna(value) else value for name, value in zip(frame.columns, row, strict=True)}
        for row in zip(*(frame[name].tolist() for name in frame.columns), strict=True)
    ]
    expected = np.array([SCHEMA.encode_row(row) for row in plain], dtype=np.float32)
    assert x_NF.dtype == np.float32
    np.testing.assert_array_equal(x_NF, expected)


def test_an_absent_column_is_missing():
    x_NF = encode_columns(SCHEMA.features, {"calls": column_of([1, 2])}, 2)
    assert x_NF.shape == (2, 4)
    assert x_NF[:, 1].tolist() == [1.0, 2.0]
    assert np.isnan(np.delete(x_NF, 1, axis=1)).all()


@pytest.mark.parametrize("value", ["3.5e38", "-1e39", "inf", "nan", "1_000", "", "x"])
def test_a_text_that_is_no_number_of_32_bits_is_missing(value):
    assert np.isnan(cast(column_of(["1", value]), FeatureKind.NUMERIC).values_N).tolist() == [False, True]


_columns = st.one_of(
    st.lists(st.none() | st.booleans(), max_size=12),
    st.lists(st.none() | st.sampled_from([0.0, -0.0, 1.0, 0.5, -3.0, 1e30]), max_size=12),
    st.lists(st.none() | st.sampled_from(["1", "1.0", " 0 ", "yes", "No", "gold", "", "1e3"]), max_size=12),
)


@given(_columns, st.sampled_from(FeatureKind))
def test_each_value_is_cast_as_a_gateway_reads_it(values, kind):
    found = cast(column_of(values), kind).to_arrow().to_pylist()
    for value, read in zip(values, found, strict=True):
        try:
            expected = read_as(kind, value)
        except ValueError:
            expected = None
        assert read == expected
