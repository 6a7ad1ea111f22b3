"""Raw columns as SQL, against the rule in plain Python."""

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainers.data.raw_columns import MISSING_WORDS, Form, RawColumn


@pytest.fixture(scope="module")
def connection():
    with duckdb.connect() as opened:
        yield opened


blanks = st.text(" \t\r\n", max_size=2)
texts = st.one_of(st.sampled_from([*MISSING_WORDS, "", "!", "0", "é\u0301", "x", "\x01"]), st.text(max_size=4))


@given(st.lists(st.builds(lambda *parts: "".join(parts), blanks, texts, blanks), min_size=1, max_size=20))
def test_text_is_trimmed_and_a_missing_word_is_null_whatever_stands_around_it(connection, values):
    values = [value.replace("\0", "") for value in values]
    sql = RawColumn("v", Form.UNTYPED).text

    found = [connection.execute(f"SELECT {sql} FROM (SELECT ? AS v)", [value]).fetchone()[0] for value in values]

    trimmed = [value.strip(" \t\r\n") for value in values]
    assert found == [None if text in {"", *MISSING_WORDS} else text for text in trimmed]
