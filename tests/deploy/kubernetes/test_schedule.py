"""When the nightly run is: by the pipeline's trigger, unless the target says otherwise."""

from dataclasses import replace

import pytest

from deploy.kubernetes.manifests import render
from deploy.kubernetes.schedule import scheduled
from deploy.kubernetes.values import Values
from divisions.errors import UsageError
from divisions.pipeline.trigger import Cron
from tests.deploy.kubernetes.test_manifests import PLAIN

BERLIN = Cron("30 2 * * MON-FRI", "Europe/Berlin")


def cron_job(values: Values):
    (found,) = [each for each in render(values, "pipeline: a") if each["kind"] == "CronJob"]
    return found["spec"]


def times(values: Values, trigger: Cron | None):
    chosen, said = scheduled(values, trigger)
    spec = cron_job(chosen)
    return spec["schedule"], spec["timeZone"], spec["suspend"], said


def test_it_is_the_pipelines_trigger_in_its_zone():
    assert times(PLAIN, BERLIN) == ("30 2 * * MON-FRI", "Europe/Berlin", False, "")
    assert times(PLAIN, Cron("0 2 * * *")) == ("0 2 * * *", "Etc/UTC", False, "")


def test_without_a_trigger_it_is_suspended_and_that_is_said():
    schedule, zone, is_suspended, said = times(PLAIN, None)
    assert (schedule, zone, is_suspended) == ("0 2 * * *", "Etc/UTC", True)
    assert "has no trigger: the nightly run is suspended" in said


def test_a_target_that_says_otherwise_counts_and_that_is_said():
    own = replace(PLAIN, schedule="0 5 * * SUN", schedule_zone="Asia/Tokyo")
    schedule, zone, is_suspended, said = times(own, BERLIN)
    assert (schedule, zone, is_suspended) == ("0 5 * * SUN", "Asia/Tokyo", False)
    assert "0 5 * * SUN Asia/Tokyo, as the target says" in said
    assert "30 2 * * MON-FRI Europe/Berlin" in said
    assert times(replace(own, schedule_zone=""), None)[1:3] == ("Etc/UTC", False)


def test_a_target_may_suspend_it():
    schedule, zone, is_suspended, said = times(replace(PLAIN, schedule_paused=True), BERLIN)
    assert (schedule, zone, is_suspended) == ("30 2 * * MON-FRI", "Europe/Berlin", True)
    assert "suspended (schedule_paused)" in said


@pytest.mark.parametrize("expression", ["0 2 L * *", "0 2 * * 5#3", "0 2 * * 7", "0 2 * * 1-7", "0 2 * *", "0 2 * * X"])
def test_what_a_cron_job_does_not_know_is_refused(expression):
    with pytest.raises(UsageError, match="is none for a CronJob"):
        scheduled(PLAIN, Cron(expression))
    with pytest.raises(UsageError, match="is none for a CronJob"):
        scheduled(replace(PLAIN, schedule=expression), None)


@pytest.mark.parametrize("expression", ["*/5 0-23/7 1,15 JAN-MAR 0", "0 2 * * */2", "0 2 * * mon,Fri", "59 23 31 12 6"])
def test_what_a_cron_job_knows_is_taken(expression):
    assert scheduled(PLAIN, Cron(expression))[0].schedule == expression
