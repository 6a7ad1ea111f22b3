"""The parts of KubeRay's operator and of kubelets, played through a cluster's API."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

from deploy.kubernetes.api import Api
from tests.kube.clusters import Cluster

RAY_CLUSTER = ("ray.io/v1", "RayCluster", "divisions")
READY = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
DONE = {"jobDeploymentStatus": "Complete", "jobStatus": "SUCCEEDED"}
_POLL_S = 0.2


class Nodes:
    def __init__(self, cluster: Cluster, api: Api) -> None:
        self.cluster = cluster
        self._api = api

    def make_pod(self, name: str, group: str, status: dict[str, Any]) -> None:
        labels = {"ray.io/cluster": "divisions", "ray.io/group": group}
        spec = {"containers": [{"name": "ray", "image": "i"}], "nodeName": "node-01"}
        meta = {"name": name, "namespace": self.cluster.namespace, "labels": labels}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec, "status": status}
        self.cluster.make("pods", pod)

    def run_all(self) -> None:
        """Every pod that is wanted runs and is ready, and the job that attaches has succeeded."""
        live = self._api.get(*RAY_CLUSTER)
        if live is None:
            return
        groups = {each["groupName"]: each["replicas"] for each in live["spec"]["workerGroupSpecs"]}
        have = {pod["metadata"]["name"] for pod in self._api.list("v1", "Pod")}
        wanted = {f"{group}-{number}": group for group, count in groups.items() for number in range(count)}
        for name, group in {"headgroup-0": "headgroup", **wanted}.items():
            if name not in have:
                container = {"name": "ray", "image": "i", "imageID": "", "ready": True, "restartCount": 0}
                self.make_pod(name, group, {**READY, "podIP": "10.24.1.8", "containerStatuses": [container]})
        for name in have - {"headgroup-0", *wanted}:
            self.cluster.end_pod(name)
        self.end_job(DONE)

    def end_job(self, status: dict[str, Any]) -> None:
        for job in self._api.list("ray.io/v1", "RayJob"):
            if job.get("status") != status:
                self.cluster.write_status("rayjobs", job["metadata"]["name"], status)

    def warn(self, pod: str, reason: str, message: str) -> None:
        place = {"namespace": self.cluster.namespace}
        about = {"kind": "Pod", "name": pod, **place}
        event = {"metadata": {"name": f"{pod}.1", **place}, "involvedObject": about, "type": "Warning"}
        self.cluster.make("events", {**event, "reason": reason, "message": message, "source": {"component": "kubelet"}})

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """Runs what is wanted, in a thread of its own, for as long as the block."""
        ends = threading.Event()

        def work() -> None:
            while not ends.wait(_POLL_S):
                self.run_all()

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ends.set()
            thread.join()
