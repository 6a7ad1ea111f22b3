from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from divisions.errors import PipelineError
from divisions.prediction_log import LogPolicy, check_columns, hash_key, place_of, pseudonym, unknown_text
from divisions.schema import Feature, FeatureKind, FeatureSchema, category_code

SCHEMA = FeatureSchema((Feature("minutes", FeatureKind.NUMERIC),), entity="subscriber")


@given(st.text(), st.text(), st.binary(min_size=1))
def test_equal_values_have_equal_pseudonyms_and_others_do_not(one: str, other: str, token: bytes):
    key = hash_key(token)
    assert (pseudonym(key, one) == pseudonym(key, other)) == (one == other)
    assert pseudonym(key, one) != pseudonym(hash_key(token + b"x"), one), "another cluster has other pseudonyms"


@given(st.lists(st.sampled_from(["(unknown)", "(unknown)?", "gold", "basic"]), unique=True))
def test_the_text_for_unknown_is_unknown_to_the_model(categories: list[str]):
    assert category_code(categories, unknown_text(categories)) == 0.0


@pytest.mark.parametrize("name", ["minutes", "subscriber", "request_id"])
def test_columns_of_the_log_may_be_hashed_or_left_out(name):
    check_columns(LogPolicy(hash=(name,)), SCHEMA)
    check_columns(LogPolicy(leave_out=(name,)), SCHEMA)


@pytest.mark.parametrize("policy", [LogPolicy(hash=("minuts",)), LogPolicy(leave_out=("minuts",))])
def test_a_mistyped_column_is_refused_because_it_would_be_logged_in_clear(policy):
    with pytest.raises(PipelineError, match="'minuts'") as refused:
        check_columns(policy, SCHEMA)
    assert "minutes, subscriber, request_id" in str(refused.value.remedy)


def test_the_home_has_the_log_unless_a_place_is_named():
    assert place_of(LogPolicy(), Path("/home/x")) == "/home/x/predictions"
    assert place_of(LogPolicy(to="s3://bucket/log"), Path("/home/x")) == "s3://bucket/log"
