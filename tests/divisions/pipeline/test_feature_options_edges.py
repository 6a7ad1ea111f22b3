"""The section `features` at its limits: names, words of a label, and constant times."""

from __future__ import annotations

import pytest

from divisions.errors import PipelineError
from divisions.pipeline.feature_options import parse_constant
from divisions.pipeline.file import parse_pipeline
from tests.divisions.pipeline.test_file_edges import FILE


def read(features: str):
    return parse_pipeline(f"{FILE}features: {features}\n").features


def refusal(features: str) -> str:
    with pytest.raises(PipelineError) as caught:
        read(features)
    return str(caught.value)


@pytest.mark.parametrize("key", ["entity", "label", "event_time", "numeric", "exclude"])
@pytest.mark.parametrize(("length", "is_good"), [(1, True), (128, True), (129, False)])
def test_a_column_has_up_to_128_characters(key, length, is_good):
    name = "c" * length
    value = f"[{name}]" if key in {"numeric", "exclude"} else name
    if is_good:
        assert name in str(getattr(read(f"{{{key}: {value}}}"), key))
    else:
        assert "1 to 128 visible characters" in refusal(f"{{{key}: {value}}}")


@pytest.mark.parametrize(("length", "is_good"), [(1, True), (128, True), (129, False)])
def test_a_word_of_a_label_has_up_to_128_characters(length, is_good):
    word = "w" * length
    features = f"{{label: {{positive: {word}}}}}"
    if is_good:
        assert read(features).label.positive == (word,)
    else:
        assert "a label's value must be 1 to 128 visible characters" in refusal(features)


@pytest.mark.parametrize("word", ["~", "null", "Null", "NULL", "' '", "''", "{a: 1}"])
def test_nothing_is_no_word(word):
    assert "features.label.positive" in refusal(f"{{label: {{positive: {word}}}}}")


@pytest.mark.parametrize(("word", "read_as"), [("1", "1"), ("true", "true"), ("'null'", "null"), ("' a '", "a")])
def test_numbers_and_quoted_words_are_words(word, read_as):
    assert read(f"{{label: {{positive: [{word}, other]}}}}").label.positive == (read_as, "other")


def test_a_label_is_a_column_or_a_section():
    assert read("{label: left}").label.column == "left"
    whole = read("{label: {column: status, positive: [Gone], negative: [Here]}}").label
    assert (whole.column, whole.positive, whole.negative) == ("status", ("Gone",), ("Here",))
    assert "key 'positive' is missing" in refusal("{label: {column: status}}")
    assert "'gone' is positive and negative" in refusal("{label: {positive: [Gone, x], negative: [GONE]}}")


def test_a_constant_time_is_a_day_a_time_or_a_variable():
    for constant in ("2025-01-14", "${today}", "${yesterday}", "2025-01-14T05:00:00+02:00"):
        assert read(f'{{event_time: {{constant: "{constant}"}}}}').event_time_constant == constant
    assert read("{event_time: moment}").event_time_constant == ""
    assert "is no time" in refusal("{event_time: {constant: soon}}")
    assert "key 'constant' is missing" in refusal("{event_time: {}}")
    assert parse_constant("2025-01-14T05:00:00+02:00").isoformat() == "2025-01-14T03:00:00+00:00"
    assert parse_constant("2025-01-14T05:00").isoformat() == "2025-01-14T05:00:00+00:00"


def test_a_text_that_is_no_time_is_quoted_up_to_60_characters():
    message = refusal("{event_time: {constant: %s}}" % ("x" * 61))
    assert f"'{'x' * 60}' is no time" in message


@pytest.mark.parametrize(
    "other", ["entity: a", "label: a", "event_time: a", "numeric: [a]", "boolean: [a]", "exclude: [a]"]
)
def test_a_column_has_one_meaning(other):
    assert "column 'a' is named twice" in refusal(f"{{categorical: [a], {other}}}")
