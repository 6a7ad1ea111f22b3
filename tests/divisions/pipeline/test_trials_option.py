"""``trials`` and ``budget``: in the file, and on the command line in their place."""

import pytest

from divisions.errors import PipelineError, UsageError
from divisions.pipeline.file import parse_pipeline
from divisions.pipeline.trials_option import with_trials

FILE = """\
pipeline: churn
stages:
  data_prep: {{input: data}}
  training: {{{training}}}
  deployment: {{endpoint: /api/v2/predict/churn}}
"""


def parsed(training=""):
    return parse_pipeline(FILE.format(training=training), "c.yaml")


def asked(pipeline):
    return pipeline.training.trials, pipeline.training.budget_s


@pytest.mark.parametrize(
    ("training", "expected"),
    [
        ("", (1, 1800.0)),
        ("trials: 1", (1, 1800.0)),
        ("trials: 20", (20, 1800.0)),
        ("trials: 1000, budget: 7d", (1000, 604_800.0)),
        ("trials: 2, budget: 10s", (2, 10.0)),
    ],
)
def test_the_file_says_how_many_and_how_long(training, expected):
    assert asked(parsed(training)) == expected


@pytest.mark.parametrize(
    ("training", "message"),
    [
        ("trials: 0", "a whole number from 1 to 1000, got 0"),
        ("trials: 1001", "a whole number from 1 to 1000, got 1001"),
        ("trials: many", "a whole number from 1 to 1000, got the text 'many'"),
        ("trials: 5, budget: soon", "'soon' is not a duration"),
        ("trials: 5, budget: 9s", "a budget of 9s is not within 10s and 7d"),
        ("trials: 5, budget: 8d", "a budget of 8d is not within 10s and 7d"),
        ("budget: 5m", "there are no trials that it could bound"),
        ("trials: 1, budget: 5m", "there are no trials that it could bound"),
    ],
)
def test_a_wrong_value_has_a_place_and_a_remedy(training, message):
    with pytest.raises(PipelineError) as caught:
        parsed(training)
    assert message in caught.value.message
    assert caught.value.line == 4
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("training", "count", "budget", "expected"),
    [
        ("trials: 5, budget: 5m", None, "", (5, 300.0)),
        ("trials: 5, budget: 5m", 1, "", (1, 300.0)),
        ("trials: 5, budget: 5m", 9, "", (9, 300.0)),
        ("trials: 5, budget: 5m", None, "1h", (5, 3600.0)),
        ("", 7, "", (7, 1800.0)),
        ("", 7, " 90s ", (7, 90.0)),
    ],
)
def test_the_command_line_comes_before_the_file(training, count, budget, expected):
    assert asked(with_trials(parsed(training), count, budget)) == expected


@pytest.mark.parametrize(
    ("count", "budget", "message"),
    [
        (0, "", "there cannot be 0 trials. give --trials a number from 1 to 1000"),
        (-3, "", "there cannot be -3 trials. give --trials a number from 1 to 1000"),
        (1001, "", "there cannot be 1001 trials. give --trials a number from 1 to 1000"),
        (None, "5m", "--budget bounds a search, and there is none. add --trials, such as --trials 20"),
        (1, "5m", "--budget bounds a search, and there is none. add --trials, such as --trials 20"),
        (5, "0s", "--budget: a budget of 0s is not within 10s and 7d. write one like '30m'"),
        (5, "-1m", "--budget: '-1m' is not a duration. write seconds, or like '60s', '10m', '1h'"),
    ],
)
def test_a_wrong_option_names_the_remedy(count, budget, message):
    with pytest.raises(UsageError) as caught:
        with_trials(parsed(), count, budget)
    assert str(caught.value) == message
