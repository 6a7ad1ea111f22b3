"""What is said about a column, from its figures."""

import unicodedata

import duckdb
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainers.data.column_facts import CHUNK, EXAMPLE_CHARS, Figures, facts_of, label_aucs, measure, suspicion, visible

PLAIN = {"present": 1_000, "distinct": 990, "numbers": 1_000, "minimum": 1.0, "maximum": 5_000.0, "is_whole": True}


def figures(**changes):
    plain = {"rows": 1_000, "is_constant": False, "first": ("1", "2"), "median": 7.0} | PLAIN
    return Figures(**{**plain, **changes})


@pytest.mark.parametrize(
    ("changes", "auc", "said"),
    [
        ({}, 0.6, "maybe an id: nearly every row has a whole number of its own"),
        ({"maximum": 1_000.0}, 0.6, "row number"),
        ({"maximum": 999.0, "minimum": 0.0}, None, "row number"),
        ({"numbers": 0}, 0.6, "id: nearly every row has a value of its own"),
        ({"is_whole": False}, 0.6, ""),
        ({"distinct": 700}, 0.6, ""),
        ({"present": 40, "distinct": 40, "numbers": 40}, 0.6, ""),
        ({"distinct": 1, "is_constant": True}, None, "constant"),
        ({"distinct": 1, "is_constant": True, "present": 900}, 0.6, ""),
        ({"present": 0, "distinct": 0, "numbers": 0}, None, "empty"),
        ({"distinct": 2}, 0.9951, "nearly the label: alone it has an AUC of 0.995"),
        ({"distinct": 2}, 0.99, ""),
    ],
)
def test_what_is_suspicious(changes, auc, said):
    assert suspicion(figures(**changes), auc) == said


def test_a_role_is_never_suspicious_and_texts_have_no_median():
    assert facts_of("id", "entity", "by its name", figures(), is_feature=False).suspicion == ""
    facts = facts_of("plan", "categorical", "declared", figures())
    assert (facts.minimum, facts.median, facts.maximum) == (None, None, None)
    assert facts_of("age", "numeric", "declared", figures(present=990)).missing == 10


@given(st.text(max_size=100) | st.text("\x00\x1b\n\r\t\u202e\u2028 ab", max_size=100))
def test_examples_are_one_bounded_line_without_control_characters(text):
    shown = visible(text)
    assert len(shown) <= EXAMPLE_CHARS * 10 + 1
    assert not any(unicodedata.category(character)[0] in "CZ" and character != " " for character in shown)
    if text.isprintable() and len(text) <= EXAMPLE_CHARS and "\u00a0" not in text:
        assert unicodedata.normalize("NFC", shown) == unicodedata.normalize("NFC", text)


def test_more_columns_than_one_query_takes_are_measured_in_order():
    connection = duckdb.connect()
    count = CHUNK + 3

    def source(indices):
        values = "".join(
            f", (r % {index + 1})::VARCHAR AS t{index}, (r % {index + 1})::DOUBLE AS n{index}" for index in indices
        )
        return f"(SELECT r AS id, r % 2 = 0 AS label{values} FROM range(1000) AS t(r))"

    found = measure(connection, source, count)
    assert [one.distinct for one in found[:10]] == list(range(1, 11))
    assert [one.maximum for one in found] == [float(index) for index in range(count)]
    assert found[0].is_constant
    assert found[4].first == ("0", "1", "2", "3", "4")
    aucs = label_aucs(connection, source, [index % 2 == 0 for index in range(count)], 1_000)
    assert aucs[1] == 1.0  # r % 2 is the label
    assert np.isclose(aucs[0], 0.5)
    # A sample depends on the rows only.
    assert label_aucs(connection, source, [False] * count, 200_000) == label_aucs(
        connection, source, [False] * count, 200_000
    )
