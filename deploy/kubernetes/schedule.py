"""The pipeline's schedule: a CronJob whose pod starts one RayJob a night, and waits for its end. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping

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

DEADLINE_S = 6 * 3600
PIPELINE_FILE = "pipeline.yaml"
KEPT_DAYS = 14
TRAINING = {"app.kubernetes.io/component": "training"}


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
            "schedule": values.schedule,
            "timeZone": "Etc/UTC",
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
