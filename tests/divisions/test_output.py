"""Tables of the command line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from divisions.commands.output import folded_table, table

CELLS = st.text(st.sampled_from("abcXYZ019.-"), min_size=1, max_size=12)
HEADER = ("NAME", "READY", "STATUS", "AGE")


@st.composite
def tables(draw):
    columns = draw(st.integers(1, 6))
    return draw(st.lists(st.lists(CELLS, min_size=columns, max_size=columns), min_size=1, max_size=5))


@given(tables(), st.integers(1, 80))
def test_a_folded_table_keeps_every_cell_in_its_order_and_no_line_is_too_long_but_for_a_cell(rows, most):
    text = folded_table(rows[0], rows[1:], most)
    assert text.split() == [cell for row in rows for cell in row]
    assert all(len(line) <= most or len(line.split()) == 1 for line in text.splitlines())


@given(tables())
def test_a_table_that_fits_is_not_folded(rows):
    whole = folded_table(rows[0], rows[1:], None)
    assert len(whole.splitlines()) == len(rows)
    assert folded_table(rows[0], rows[1:], max(map(len, whole.splitlines()))) == whole


@pytest.mark.parametrize("is_terminal", [True, False])
def test_only_a_terminal_folds(is_terminal, monkeypatch):
    monkeypatch.setattr("divisions.commands.output.is_terminal", lambda: is_terminal)
    monkeypatch.setenv("COLUMNS", "20")
    lines = table(HEADER, [("churn-predictor", "1/1", "Running", "3s")]).splitlines()
    assert len(lines) == (6 if is_terminal else 2)
