from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from divisions.errors import PipelineError
from divisions.pipeline.variables import VARIABLES, check_variables, expand

TODAY = date(2025, 1, 1)


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("s3://raw-events/partition=${today}", "s3://raw-events/partition=2025-01-01"),
        ("${yesterday}/${today}", "2024-12-31/2025-01-01"),
        ("data/${pipeline}", "data/churn-v3"),
        ("no variable, $today and {today}", "no variable, $today and {today}"),
        ("$${today}{x}", "$2025-01-01{x}"),
    ],
)
def test_variables_are_filled_in(template, text):
    assert expand(template, TODAY, pipeline="churn-v3") == text


def test_a_value_is_not_expanded_again():
    assert expand("${pipeline}", TODAY, pipeline="${today}") == "${today}"


def test_the_pipelines_name_must_be_known_to_be_used():
    with pytest.raises(PipelineError, match="has no value here"):
        expand("${pipeline}", TODAY)


@pytest.mark.parametrize("template", ["${HOME}", "${}", "${ today }", "${today", "${today${today}}", "${to${day}}"])
def test_nothing_else_is_a_variable(template):
    with pytest.raises(PipelineError):
        check_variables(template)


def test_an_unknown_variable_is_answered_with_the_list():
    with pytest.raises(PipelineError) as caught:
        expand("${tody}", TODAY)
    assert "did you mean ${today}" in str(caught.value)
    assert all(f"${{{name}}}" in str(caught.value) for name in VARIABLES)


@given(st.text(alphabet="${}today"))
def test_any_template_expands_or_is_a_pipeline_error(template):
    try:
        text = expand(template, TODAY, pipeline="p")
    except PipelineError:
        return
    assert "${" not in text
