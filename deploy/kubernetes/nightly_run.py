"""``python -m deploy.kubernetes.nightly_run NAMESPACE CLUSTER``: what the CronJob's pod does.

It starts the day's RayJob, waits for its end, and deletes those of earlier weeks: KubeRay does not delete jobs that run
on a cluster which is already there. A pod that is started again goes on waiting for the same job.
"""

from __future__ import annotations

import datetime as dt
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from deploy.kubernetes.environment import PREFIX
from deploy.kubernetes.pod_template import Manifest
from deploy.kubernetes.schedule import DEADLINE_S, KEPT_DAYS, TRAINING, training_job
from divisions.clock import Clock, SystemClock
from divisions.environment import inherited_environment
from divisions.errors import ClusterError, ConflictError, DivisionsError

EXIT_FAILED, EXIT_USAGE = 1, 2
POLL_S = 10.0
GRACE_S = 300.0
_JOB = ("ray.io/v1", "RayJob")
_ENDED = {"Complete": True, "Failed": False}


class Jobs(Protocol):
    """What is needed of `deploy.kubernetes.api.Api`."""

    namespace: str

    def create(self, manifest: Manifest) -> Manifest: ...

    def get(self, version: str, kind: str, name: str) -> Manifest | None: ...

    def list(self, version: str, kind: str, labels: Mapping[str, str] | None = None) -> list[Manifest]: ...

    def delete(self, version: str, kind: str, name: str) -> None: ...


def run(
    api: Jobs,
    cluster: str,
    variables: Mapping[str, str],
    clock: Clock,
    say: Callable[[str], None],
    pause: Callable[[float], None],
) -> bool:
    """Whether today's training has succeeded.

    Raises:
        DivisionsError: the cluster's API fails for long, or the job does not end.
    """
    today = dt.datetime.fromtimestamp(clock.wall_s(), dt.UTC)
    _remove_old(api, cluster, today, say)
    job = training_job(api.namespace, cluster, f"{today:%Y-%m-%d}", variables)
    name = job["metadata"]["name"]
    try:
        api.create(job)
        say(f"started {name}")
    except ConflictError:
        say(f"{name} was started before: waiting for its end")
    deadline_s = clock.monotonic_s() + DEADLINE_S + GRACE_S
    trouble: DivisionsError = ClusterError(f"{name} has not ended in time", remedy="see its status and log")
    while clock.monotonic_s() < deadline_s:
        try:
            found = api.get(*_JOB, name)
        except ClusterError as error:  # the API server is updated, for instance; training goes on
            trouble = error
        else:
            if found is None:
                raise ClusterError(
                    f"{name} was deleted before its end", remedy="start it again by hand, if it is wanted"
                )
            status = found.get("status") or {}
            ended = _ENDED.get(status.get("jobDeploymentStatus", ""))
            if ended is not None:
                is_good = ended and status.get("jobStatus") == "SUCCEEDED"
                reason = status.get("message") or status.get("reason") or "no reason is given"
                say(f"{name} has succeeded" if is_good else f"{name} has failed: {reason}")
                return is_good
        pause(POLL_S)
    raise trouble


def _remove_old(api: Jobs, cluster: str, now: dt.datetime, say: Callable[[str], None]) -> None:
    labels = {**TRAINING, "app.kubernetes.io/instance": cluster}
    for job in api.list(*_JOB, labels):
        made = dt.datetime.fromisoformat(job["metadata"]["creationTimestamp"])
        has_ended = (job.get("status") or {}).get("jobDeploymentStatus") in _ENDED
        if has_ended and now - made > dt.timedelta(days=KEPT_DAYS):
            api.delete(*_JOB, job["metadata"]["name"])
            say(f"removed {job['metadata']['name']}, which is older than {KEPT_DAYS} days")


def main(arguments: Sequence[str]) -> int:
    if len(arguments) != 2:
        print("usage: python -m deploy.kubernetes.nightly_run NAMESPACE CLUSTER", file=sys.stderr)
        return EXIT_USAGE
    from deploy.kubernetes.api import Api

    namespace, cluster = arguments
    variables = {key: value for key, value in inherited_environment().items() if key.startswith(PREFIX)}
    try:
        with Api(namespace) as api:
            is_good = run(api, cluster, variables, SystemClock(), lambda line: print(line, flush=True), time.sleep)
    except DivisionsError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_FAILED
    return 0 if is_good else EXIT_FAILED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
