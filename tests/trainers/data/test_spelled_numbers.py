"""Numbers as people write them: each spelling gives the number back, and no other text becomes one."""

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainers.data.spelled_numbers import COMMA, POINT, Spelling, is_plain, plain_number, unit_of

CONNECTION = duckdb.connect()


def read(sql, text):
    return CONNECTION.execute(f"SELECT {sql} FROM (VALUES (?)) AS t(v)", [text]).fetchall()[0][0]


def spell(cents, decimal, thousands):
    whole, rest = divmod(abs(cents), 100)
    text = f"{whole:,}".replace(",", thousands) + f"{decimal}{rest:02d}"
    return f"-{text}" if cents < 0 else text


@settings(max_examples=150, deadline=None)
@given(
    st.integers(-(10**12), 10**12),
    st.sampled_from(
        [(".", ","), (".", "'"), (".", "_"), (".", " "), (",", "."), (",", "\u00a0"), (",", "\u2019"), (",", "")]
    ),
    st.sampled_from(["{}", "${}", "{} EUR", "{}\u00a0%", "kr. {}", "'{}"]),
)
def test_a_number_comes_back_from_its_spelling(cents, marks, form):
    decimal, thousands = marks
    text = form.format(spell(cents, decimal, thousands))
    assert read(Spelling(decimal).number("v"), text) == pytest.approx(cents / 100)
    if abs(cents) >= 100_000 or decimal == ",":  # else nothing in it tells that it is spelled by another mark
        assert read({".": COMMA, ",": POINT}[decimal].number("v"), text) is None


@settings(max_examples=100, deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False, width=32))
def test_what_a_program_writes_is_plain_and_has_a_decimal_point(number):
    assert read(plain_number("v"), repr(number)) == number
    assert read(POINT.number("v"), repr(number)) == pytest.approx(number)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("(12.50)", -12.5),
        ("($ 3)", -3),
        ("12.50-", -12.5),
        ("\u22125", -5),
        ("$-5", -5),
        ("-$5", -5),
        ("1,20,000", 120000),
    ],
)
def test_signs_of_bookkeepers_and_groups_of_two(text, number):
    assert read(POINT.number("v"), text) == number


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "-",
            "$",
            "%",
            "abc",
            "5 GB",
            "12 months",
            "ABC 12",
            "1,2,3",
            "1 2 3",
            "1-2",
            "12/5",
            "--5",
            "(5",
            "2025-01-14",
        ),
        *("1.2.3", "10.0.0.1", "1 00", "01 23 45 67 89", "1,,000", "0,123.5", "\u0661\u0662", "1e", "e5", "0x10", "+"),
    ],
)
def test_no_other_text_is_a_number(text):
    assert read(POINT.number("v"), text) is None
    assert read(COMMA.number("v"), text) is None
    assert read(is_plain("v"), text) is False


def test_a_plain_number_has_no_marks_of_people():
    assert [read(plain_number("v"), text) for text in ("1_000", "1,000", "1e3", "-.5")] == [None, None, 1000.0, -0.5]


def test_a_declared_mark_is_the_only_one():
    spelling = Spelling(",", ".")
    texts = ("1.200,5", "1 200,5", "1'200,5", "1200,5")
    assert [read(spelling.number("v"), text) for text in texts] == [1200.5, None, None, 1200.5]


def test_the_unit_is_the_sign_or_the_code():
    assert [read(unit_of("v"), text) for text in ("R$ 5", "5 EUR", "12 %", "5")] == ["R$", "EUR", "%", ""]
