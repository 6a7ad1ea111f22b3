import math
import struct

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from divisions.errors import InvalidFeaturesError
from divisions.schema import UNKNOWN_CODE, Feature, FeatureKind, FeatureSchema

SCHEMA = FeatureSchema(
    (
        Feature("minutes", FeatureKind.NUMERIC),
        Feature("abroad", FeatureKind.BOOLEAN),
        Feature("state", FeatureKind.CATEGORICAL, ("KS", "OH")),
    )
)


def test_a_row_is_encoded_in_the_schemas_order():
    assert SCHEMA.encode_row({"state": "OH", "abroad": True, "minutes": 12, "more": object()}) == [12.0, 1.0, 2.0]
    assert SCHEMA.encode_row({"state": "KS", "abroad": False, "minutes": -0.5}) == [-0.5, 0.0, 1.0]


def test_an_unknown_category_has_a_code_of_its_own():
    assert SCHEMA.encode_row({"state": "NY", "abroad": True, "minutes": 1})[2] == UNKNOWN_CODE
    assert SCHEMA.encode_row({"state": "", "abroad": True, "minutes": 1})[2] == UNKNOWN_CODE


@pytest.mark.parametrize("missing", [{}, {"minutes": None, "abroad": None, "state": None}, {"minutes": math.nan}])
def test_what_is_absent_or_null_is_missing(missing):
    assert all(math.isnan(value) for value in SCHEMA.encode_row(missing))


@pytest.mark.parametrize(
    "row",
    [
        {"minutes": "12"},
        {"minutes": True},
        {"minutes": [1]},
        {"abroad": 1},
        {"abroad": "true"},
        {"state": 3},
        {"state": True},
        {"minutes": math.inf},
        {"minutes": -math.inf},
        {"minutes": 3.5e38},
        {"minutes": 10**5_000},
    ],
)
def test_nothing_is_coerced(row):
    with pytest.raises(InvalidFeaturesError, match=f"feature '{next(iter(row))}'") as caught:
        SCHEMA.encode_row(row)
    assert caught.value.remedy


@given(st.floats(allow_nan=False) | st.integers())
def test_a_number_is_refused_or_fits_float32_and_stays_finite(number):
    try:
        (value, _, _) = SCHEMA.encode_row({"minutes": number})
    except InvalidFeaturesError:
        assert abs(number) > 3.4e38
    else:
        assert math.isfinite(struct.unpack("<f", struct.pack("<f", value))[0])


names = st.text(min_size=1, max_size=8)
features = st.builds(Feature, names, st.sampled_from(FeatureKind), st.lists(st.text(max_size=4), max_size=3).map(tuple))
schemas = st.builds(FeatureSchema, st.lists(features, max_size=4).map(tuple), names, names, names)


@given(schemas)
def test_a_schema_survives_json_and_its_hash_tells_schemas_apart(schema):
    again = msgspec.json.decode(schema.to_json(), type=FeatureSchema)
    assert again == schema
    assert again.sha256 == schema.sha256
    assert FeatureSchema((*schema.features, Feature("more", FeatureKind.NUMERIC))).sha256 != schema.sha256


@given(
    st.dictionaries(
        st.sampled_from(["minutes", "abroad", "state"]),
        st.none() | st.booleans() | st.floats() | st.text() | st.integers(),
    )
)
def test_any_row_is_encoded_or_refused(row):
    try:
        encoded = SCHEMA.encode_row(row)
    except InvalidFeaturesError:
        return
    assert len(encoded) == SCHEMA.num_columns
