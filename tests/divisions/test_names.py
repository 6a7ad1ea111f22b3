import pytest

from divisions.names import MAX_NAME_CHARS, is_name


@pytest.mark.parametrize("text", ["a", "churn", "7-day_churn.v2", "a" * MAX_NAME_CHARS])
def test_plain_words_are_names(text):
    assert is_name(text)


@pytest.mark.parametrize(
    "text", ["", "Churn", ".a", "-a", "_a", "a..b", "a/b", "a b", "ü", "a\n", "a" * (MAX_NAME_CHARS + 1)]
)
def test_nothing_else_is(text):
    assert not is_name(text)
