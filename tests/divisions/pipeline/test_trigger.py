"""When a pipeline runs by itself: five cron fields, a time zone, and what happens to missed times."""

import pytest

from divisions.errors import PipelineError
from divisions.pipeline.file import parse_pipeline
from divisions.pipeline.trigger import CatchUp, Cron, parse_expression, parse_trigger, parse_zone

STAGES = """
stages:
  data_prep: {input: data}
  deployment: {endpoint: /api/v2/predict/churn}
"""


def refusal(text: str) -> str:
    with pytest.raises(PipelineError) as caught:
        parse_pipeline(f"pipeline: churn\ntrigger:{text}{STAGES}", "churn.yaml")
    return str(caught.value)


def test_a_text_is_in_utc_and_catches_the_last_missed_time_up():
    assert parse_trigger("schedule: 0 2 * * *") == Cron("0 2 * * *", "UTC", CatchUp.LAST)
    assert parse_trigger("schedule:  */5 0-4   1,15 * MON") == Cron("*/5 0-4 1,15 * MON")


@pytest.mark.parametrize(
    "text",
    [
        *("", "0 2 * * *", "schedule:", "schedule: 0 2 * *", "schedule: 0 0 2 * * *", "schedule: 60 2 * * *"),
        *("schedule: 0 0 31 2 *", "schedule: @daily", "manual: 0 2 * * *", "schedule: " + "9" * 5_000 + " * * * *"),
    ],
)
def test_what_is_no_trigger_is_refused(text):
    with pytest.raises(PipelineError):
        parse_trigger(text)


def test_a_section_names_a_zone_and_what_happens_to_missed_times():
    section = "\n  schedule: 30 2 * * MON-FRI\n  zone: Europe/Berlin\n  catch_up: all\n"
    trigger = parse_pipeline(f"pipeline: churn\ntrigger:{section}{STAGES}").trigger
    assert trigger == Cron("30 2 * * MON-FRI", "Europe/Berlin", CatchUp.ALL)
    assert str(trigger) == "30 2 * * MON-FRI Europe/Berlin"
    assert parse_pipeline(f"pipeline: churn\ntrigger: {{schedule: 0 2 * * *}}{STAGES}").trigger == Cron("0 2 * * *")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("\n  zone: UTC\n", "churn.yaml:3:3: trigger: key 'schedule' is missing"),
        ("\n  schedule: 0 2 * *\n", "churn.yaml:3:13: trigger.schedule: '0 2 * *' has 4 cron fields instead of 5"),
        ("\n  schedule: 0 2 * * *\n  zone: Europe/Berln\n", "4:9: trigger.zone: 'Europe/Berln' is not a time zone. "),
        ("\n  schedule: 0 2 * * *\n  zone: Europe/Berln\n", "did you mean Europe/Berlin?"),
        ("\n  schedule: 0 2 * * *\n  catch_up: some\n", "trigger.catch_up: must be 'none' or 'last' or 'all'"),
        ("\n  schedule: 0 2 * * *\n  timezone: UTC\n", "unknown key 'timezone'. did you mean 'zone'?"),
        (
            ' "schedule: 0 0 31 2 *"\n',
            "2:10: trigger: '0 0 31 2 *' never comes. choose a day that one of its months has",
        ),
        (' "schedule: 0 0 31 4,6,9,11 *"\n', "never comes"),
        (' "schedule: 0 0 32 2 *"\n', "is not a cron expression: bad day-of-month"),
    ],
)
def test_a_mistake_is_one_line_with_its_place_and_a_remedy(text, error):
    assert error in refusal(text)


@pytest.mark.parametrize("name", ["", "Mars/Base", "Europe", "../../etc/passwd", "/etc/passwd", "a\0b", "z" * 5_000])
def test_what_is_no_time_zone_is_refused(name):
    with pytest.raises(PipelineError, match="is not a time zone"):
        parse_zone(name)


def test_29_february_comes():
    assert parse_expression(" 0 0 29  2 * ") == "0 0 29 2 *"
