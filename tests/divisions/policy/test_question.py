"""Questions as people write them."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from divisions.errors import PolicyError
from divisions.policy.engine import Kind, Query
from divisions.policy.question import parse_question
from tests.divisions.policy.questions import GOOD, MATRIX, promotions

ANN = '"principal": {"name": "ann", "role": "viewer"}, "action": "read"'
PROMOTION = msgspec.json.encode(Query(Kind.PROMOTION, GOOD).document()).decode()


@given(st.sampled_from(MATRIX) | promotions)
def test_what_the_rules_are_told_can_be_asked(query):
    assert parse_question(msgspec.json.encode(query.document()).decode()) == query


@given(st.text(max_size=40))
def test_any_other_text_is_refused_in_one_line(text):
    with pytest.raises(PolicyError, match="this is no question"):
        parse_question(text)


@pytest.mark.parametrize(
    "text",
    [
        "null",
        '{"kind": "predict"}',
        '{"kind": "rbac"}',
        '{"kind": "promotion", ' + ANN + "}",
        '{"kind": "rbac", "x": ' + "[" * 100_000,
        '{"kind": "rbac", ' + ANN.replace("ann", "\\ud800") + "}",
        '{"kind": "rbac", ' + ANN.replace("ann", "\udc80") + "}",
        PROMOTION.replace("1800000000.0", "1e999"),
    ],
    ids=lambda text: repr(text[:40]),
)
def test_what_is_no_question_is_refused(text):
    with pytest.raises(PolicyError, match=r'this is no question: .*write one such as \{"kind"'):
        parse_question(text)


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ('{"kind": "rbac", ' + ANN + ', "endpiont": "churn"}', "endpiont"),
        ('{"kind": "rbac", ' + ANN.replace('"role"', '"rank": 1, "role"') + "}", "principal.rank"),
        (PROMOTION.replace('"outcome"', '"why": 1, "outcome"'), "gates.why"),
    ],
    ids=["top", "person", "list"],
)
def test_a_misspelt_field_is_named_and_not_left_out(text, field):
    with pytest.raises(PolicyError, match=f"has no field '{field}'"):
        parse_question(text)
