"""The nightly pod: one training a day, whose end it waits for, whatever happens to pod and API server meanwhile."""

import pytest

from deploy.kubernetes.nightly_run import run
from divisions.errors import ClusterError, ConflictError
from tests.deploy.kubernetes import schemas

NIGHT_S = 1_736_820_000.0  # 2025-01-14 02:00 UTC


class FakeClock:
    def __init__(self):
        self.now_s = 0.0

    def monotonic_s(self):
        return self.now_s

    def wall_s(self):
        return NIGHT_S + self.now_s

    def pause(self, seconds):
        self.now_s += seconds


class FakeJobs:
    """An API with RayJobs. ``answers`` are what `get` does, one after the other; the last one is repeated."""

    namespace = "ml"

    def __init__(self, *answers, jobs=()):
        self.jobs = {job["metadata"]["name"]: job for job in jobs}
        self.answers = list(answers)
        self.made = []

    def create(self, manifest):
        name = manifest["metadata"]["name"]
        if name in self.jobs:
            raise ConflictError(f"there is a {name}")
        self.made.append(manifest)
        metadata = manifest["metadata"] | {"creationTimestamp": "2025-01-14T02:00:01Z"}
        self.jobs[name] = manifest | {"metadata": metadata}

    def get(self, version, kind, name):
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def list(self, version, kind, labels):
        return [job for job in self.jobs.values() if labels.items() <= job["metadata"]["labels"].items()]

    def delete(self, version, kind, name):
        del self.jobs[name]


def status(deployment, job="", message=""):
    return {"status": {"jobDeploymentStatus": deployment, "jobStatus": job, "message": message}}


def night(api, clock=None):
    clock = clock or FakeClock()
    said = []
    return run(api, "divisions", {"DIVISIONS_ARTIFACTS": "s3://m"}, clock, said.append, clock.pause), said


def test_a_night_starts_one_job_and_waits_for_its_end():
    api = FakeJobs({}, status("Running", "RUNNING"), status("Complete", "SUCCEEDED"))
    is_good, said = night(api)
    assert is_good
    assert said == ["started divisions-250114", "divisions-250114 has succeeded"]
    (made,) = api.made
    schemas.check(made)
    assert "--today 2025-01-14" in made["spec"]["entrypoint"]
    assert "s3://m" in made["spec"]["runtimeEnvYAML"]


@pytest.mark.parametrize("end", [status("Complete", "FAILED", "no rows"), status("Failed", "", "no rows")])
def test_a_training_that_failed_is_a_pod_that_failed(end):
    is_good, said = night(FakeJobs(end))
    assert not is_good
    assert said[-1] == "divisions-250114 has failed: no rows"


def test_a_pod_that_starts_again_waits_for_the_job_of_the_first_one():
    api = FakeJobs(status("Complete", "SUCCEEDED"))
    night(api)
    assert night(api)[0]
    assert len(api.made) == 1, "not a second training"


def test_an_api_server_that_is_away_for_a_while_ends_nothing():
    away = ClusterError("the API does not answer")
    assert night(FakeJobs(away, away, status("Complete", "SUCCEEDED")))[0]


def test_one_that_stays_away_and_a_job_that_never_ends_are_told_after_the_deadline():
    with pytest.raises(ClusterError, match="does not answer"):
        night(FakeJobs(ClusterError("the API does not answer")))
    with pytest.raises(ClusterError, match="has not ended in time"):
        night(FakeJobs(status("Running")))


def test_a_job_that_is_deleted_is_told_at_once():
    clock = FakeClock()
    with pytest.raises(ClusterError, match="was deleted"):
        night(FakeJobs(None), clock)
    assert clock.now_s == 0


def test_jobs_that_ended_weeks_ago_are_removed_and_no_others():
    def job(name, made, deployment, cluster="divisions"):
        labels = {"app.kubernetes.io/component": "training", "app.kubernetes.io/instance": cluster}
        return {
            "metadata": {"name": name, "creationTimestamp": f"{made}T02:00:10Z", "labels": labels},
            **status(deployment),
        }

    api = FakeJobs(
        status("Complete", "SUCCEEDED"),
        jobs=[
            job("old", "2024-12-30", "Complete"),
            job("old-failed", "2024-12-29", "Failed"),
            job("old-running", "2024-12-30", "Running"),
            job("recent", "2025-01-01", "Complete"),
            job("of-another", "2024-12-01", "Complete", cluster="other"),
        ],
    )
    night(api)
    assert set(api.jobs) == {"old-running", "recent", "of-another", "divisions-250114"}
