"""The pipeline's schedule: a CronJob whose pod starts one RayJob a night, and waits for its end. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace

from deploy.kubernetes.cluster_manifest import environment
from deploy.kubernetes.pod_template import (
    HOME,
    PIPELINE,
    SECRETS,
    Manifest,
    container_security,
    labels,
    metadata,
    pod_security,
    resources,
)
from deploy.kubernetes.values import Values
from divisions.errors import UsageError
from divisions.pipeline.trigger import Cron

DEADLINE_S = 6 * 3600
PIPELINE_FILE = "pipeline.yaml"
KEPT_DAYS = 14
NEVER = "0 2 * * *"
"""A CronJob must have a schedule, also one that is suspended."""
UTC = "Etc/UTC"
_FIELD = re.compile(r"[A-Za-z0-9*/,-]+")
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_NAMES = frozenset((*_MONTHS, "SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"))
TRAINING = {"app.kubernetes.io/component": "training"}


def scheduled(values: Values, trigger: Cron | None) -> tuple[Values, str]:
    """The values with the schedule that counts: their own, else the pipeline's trigger; and what is to be said of it.

    Without either, the nightly run is suspended: it can be started by hand.

    Raises:
        UsageError: Kubernetes has no such schedule.
    """
    if values.schedule:
        own = replace(values, schedule_zone=values.schedule_zone or UTC)
        _check(own.schedule)
        told = f"the nightly run is at {own.schedule} {own.schedule_zone}, as the target says"
        return own, f"{told}, not as the pipeline's trigger ({trigger or 'none'})"
    if trigger is None:
        told = "the pipeline has no trigger: the nightly run is suspended"
        return replace(values, schedule=NEVER, schedule_zone=UTC, schedule_paused=True), told
    _check(trigger.expression)
    zone = UTC if trigger.zone == "UTC" else trigger.zone
    told = f"the nightly run is suspended (schedule_paused); the pipeline's trigger is {trigger}"
    return (
        replace(values, schedule=trigger.expression, schedule_zone=zone),
        told if values.schedule_paused else "",
    )


def _check(expression: str) -> None:
    """CronJobs have five fields with numbers and names; days of the week are 0 to 6. Our own schedules have more."""
    fields = expression.split()
    words = re.findall(r"[A-Za-z]+", expression)
    days = [int(each) for each in re.findall(r"(?<!/)\b[0-9]+", fields[-1])] if fields else []
    if (
        len(fields) != 5
        or not all(_FIELD.fullmatch(each) for each in fields)
        or any(word.upper() not in _NAMES for word in words)
        or any(day > 6 for day in days)
    ):
        raise UsageError(
            f"schedule {expression!r} is none for a CronJob of Kubernetes",
            remedy="use five fields with numbers and names of days, Sunday as 0, without L, W or #",
        )


def pipeline_map(values: Values, pipeline: str) -> Manifest:
    """The pipeline file, which the head mounts."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(values, f"{values.name}-pipeline", "nightly"),
        "data": {PIPELINE_FILE: pipeline},
    }


def cron_job(values: Values) -> Manifest:
    """Waiting for the end is what gives ``Forbid`` a meaning. A try is never repeated: training costs money."""
    name = f"{values.name}-nightly"
    container: Manifest = {
        "name": "nightly",
        "image": values.image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python", "-m", "deploy.kubernetes.nightly_run", values.namespace, values.name],
        "securityContext": container_security(),
        "resources": resources("100m", "256Mi"),
        "env": [{"name": key, "value": value} for key, value in {**environment(values), "HOME": HOME}.items()],
        "volumeMounts": [{"name": "home", "mountPath": HOME}, {"name": "tmp", "mountPath": "/tmp"}],
    }
    pod: Manifest = {
        "serviceAccountName": name,
        "automountServiceAccountToken": True,
        "securityContext": pod_security(),
        "restartPolicy": "Never",
        "containers": [container],
        "volumes": [{"name": "home", "emptyDir": {}}, {"name": "tmp", "emptyDir": {}}],
    }
    if values.pull_secret:
        pod["imagePullSecrets"] = [{"name": values.pull_secret}]
    template = {"metadata": {"labels": labels(values, "nightly")}, "spec": pod}
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": metadata(values, name, "nightly"),
        "spec": {
            "schedule": values.schedule or NEVER,
            "timeZone": values.schedule_zone or UTC,
            "concurrencyPolicy": "Forbid",
            "startingDeadlineSeconds": 3600,
            "suspend": values.schedule_paused,
            "successfulJobsHistoryLimit": 3,
            "failedJobsHistoryLimit": 3,
            "jobTemplate": {
                "spec": {"backoffLimit": 0, "activeDeadlineSeconds": DEADLINE_S + 600, "template": template}
            },
        },
    }


def training_job(namespace: str, cluster: str, day: str, variables: Mapping[str, str]) -> Manifest:
    """The RayJob of one day. Its name has the day, so that a second try is a conflict and no second training.

    Args:
        variables: the settings of the run.
    """
    run = f"python -m trainers --pipeline {PIPELINE}/{PIPELINE_FILE} --today {day}"
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "metadata": {
            "name": f"{cluster}-{day.replace('-', '')[2:]}",
            "namespace": namespace,
            "labels": {"app.kubernetes.io/name": "divisions", **TRAINING, "app.kubernetes.io/instance": cluster},
        },
        "spec": {
            "clusterSelector": {"ray.io/cluster": cluster},
            "submissionMode": "HTTPMode",
            "entrypoint": f"python -m deploy.kubernetes.environment {SECRETS} {run}",
            "entrypointNumCpus": 0,
            "runtimeEnvYAML": json.dumps({"env_vars": dict(variables)}),
            "activeDeadlineSeconds": DEADLINE_S,
        },
    }
