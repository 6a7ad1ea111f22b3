"""How an entity's id is spelt."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from divisions.entity_ids import entity_text
from divisions.errors import InvalidFeaturesError


@given(st.integers())
def test_a_whole_number_is_its_digits_exactly(number):
    assert entity_text("customer_id", number) == str(number)


@given(st.integers(-(2**53) + 1, 2**53 - 1))
def test_a_whole_float_is_the_whole_number(number):
    assert entity_text("customer_id", float(number)) == str(number)


@given(st.text())
def test_text_stays_as_it_is(text):
    assert entity_text("customer_id", text) == text


def test_a_negative_zero_is_zero():
    assert entity_text("customer_id", -0.0) == "0"


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (True, "is a boolean"),
        (7.5, "is no whole number"),
        (float("nan"), "is no whole number"),
        (float("inf"), "is no whole number"),
        (None, "is null"),
        ([7], "is neither"),
        (2.0**53, "may stand for several ids"),
        (-(2.0**60), "may stand for several ids"),
        pytest.param(10**256, "more than 256 digits", id="large"),
        pytest.param(-(10**9_999), "more than 256 digits", id="huge"),
    ],
)
def test_anything_else_is_refused_by_the_name_of_the_entity(value, why):
    with pytest.raises(InvalidFeaturesError, match=f"`user`.*{why}"):
        entity_text("user", value)


def test_the_longest_whole_number_is_an_id():
    assert entity_text("customer_id", 10**256 - 1) == "9" * 256
