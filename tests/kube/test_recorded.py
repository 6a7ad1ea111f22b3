"""Requests and what a real API server answered: it still does, and the stand-in answers the same.

Record anew with ``RECORD_KUBE=1`` in the environment.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.kube.clusters import NOBODY, Cluster
from tests.kube.server import ADMIN

FILE = Path(__file__).parent / "recorded.json"
APPLY, MERGE, JSON = (f"application/{each}" for each in ("apply-patch+yaml", "merge-patch+json", "json-patch+json"))
MAP = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"key": "one", "other": "two"}}
STALE = {**MAP, "metadata": {"name": "a", "resourceVersion": "1"}}
GROUP = {"groupName": "gateway", "minReplicas": 0, "maxReplicas": 4, "replicas": 1, "rayStartParams": {}}
GROUP |= {"numOfHosts": 1, "priority": 0}  # the defaults, which the stand-in does not know
POD = {"spec": {"containers": [{"name": "a", "image": "b"}]}}
RAY = {
    "apiVersion": "ray.io/v1",
    "kind": "RayCluster",
    "metadata": {"name": "r"},
    "spec": {
        "headGroupSpec": {"rayStartParams": {}, "template": POD},
        "workerGroupSpecs": [{**GROUP, "template": POD}],
    },
}
MAPS, RAYS = "/api/v1/namespaces/NS/configmaps", "/apis/ray.io/v1/namespaces/NS/rayclusters"


def with_data(**data: str) -> dict[str, Any]:
    return {**MAP, "data": data}


Request = tuple[str, str, str, str, dict[str, str], Any]
"""What it shows, user, method, path, parameters and type of the body, body."""


def apply(title: str, path: str, body: Any, *, manager: str = "divisions", **params: str) -> Request:
    return title, ADMIN, "PATCH", path, {"fieldManager": manager, **params, "type": APPLY}, body


def patch(title: str, place: str, value: Any, group: str) -> Request:
    operations = [
        {"op": "test", "path": "/spec/workerGroupSpecs/0/groupName", "value": group},
        {"op": "add", "path": f"/spec/workerGroupSpecs/0/{place}", "value": value},
    ]
    return title, ADMIN, "PATCH", f"{RAYS}/r", {"fieldManager": "divisions-scale", "type": JSON}, operations


def get(title: str, path: str, user: str = ADMIN) -> Request:
    return title, user, "GET", path, {}, None


REQUESTS: list[Request] = [
    get("absent", f"{MAPS}/a"),
    get("absent, of a group", f"{RAYS}/r"),
    get("an empty list", MAPS),
    apply("dry run of a new object", f"{MAPS}/a", MAP, dryRun="All"),
    get("a dry run makes nothing", f"{MAPS}/a"),
    apply("new", f"{MAPS}/a", MAP),
    apply("the same again", f"{MAPS}/a", MAP),
    apply("a field left out is removed", f"{MAPS}/a", with_data(key="one")),
    (
        "an edit by hand",
        ADMIN,
        "PATCH",
        f"{MAPS}/a",
        {"fieldManager": "kubectl-edit", "type": MERGE},
        {"data": {"key": "theirs", "other": "theirs"}},
    ),
    apply("a conflict with one manager", f"{MAPS}/a", with_data(key="ours")),
    apply("conflicts with one manager", f"{MAPS}/a", MAP),
    apply("a dry run has conflicts, too", f"{MAPS}/a", with_data(key="ours"), dryRun="All"),
    apply("the value that they have is no conflict", f"{MAPS}/a", with_data(key="theirs")),
    apply("a second manager", f"{MAPS}/a", with_data(third="x"), manager="helm"),
    apply("conflicts with two managers", f"{MAPS}/a", with_data(key="ours", third="y")),
    apply("by force", f"{MAPS}/a", with_data(key="ours", third="y"), force="true"),
    apply("another's field, by its new value", f"{MAPS}/a", with_data(third="z"), manager="helm"),
    apply("a stale version", f"{MAPS}/a", STALE | {"data": {"key": "ours"}}),
    apply("a stale version, and a conflict", f"{MAPS}/a", STALE),
    apply("a RayCluster", f"{RAYS}/r", RAY),
    patch("scaled", "replicas", 3, "gateway"),
    patch("a patch whose test fails", "replicas", 2, "other"),
    apply("groups are one value", f"{RAYS}/r", RAY),
    apply("a missing namespace", "/api/v1/namespaces/absent/configmaps/a", MAP),
    get("a missing namespace, read", "/api/v1/namespaces/absent/configmaps/a"),
    get("a kind of a group that is absent", "/apis/monitoring.coreos.com/v1/namespaces/NS/servicemonitors/a"),
    get("a version that is absent", "/apis/policy/v1/namespaces/NS/poddisruptionbudgets/a"),
    get("a kind that its version lacks", "/apis/batch/v1/namespaces/NS/cronjobs/a"),
    get("forbidden", f"{MAPS}/a", NOBODY),
    get("a forbidden list", MAPS, NOBODY),
    get("forbidden, of a group", f"{RAYS}/r", NOBODY),
    get("unauthorized", f"{MAPS}/a", "unknown"),
    ("made already", ADMIN, "POST", MAPS, {"type": "application/json"}, MAP),
    ("deleted", ADMIN, "DELETE", f"{MAPS}/a", {}, None),
    ("deleted already", ADMIN, "DELETE", f"{MAPS}/a", {}, None),
]


def answers_of(cluster: Cluster) -> dict[str, Any]:
    found = {}
    for title, user, method, path, options, body in REQUESTS:
        params = {key: value for key, value in options.items() if key != "type"}
        token = cluster.token(user)
        headers = {"Authorization": f"Bearer {token}"} | ({"Content-Type": options["type"]} if body else {})
        answer = cluster.http.request(
            method,
            path.replace("NS", cluster.namespace),
            params=params,
            headers=headers,
            content=json.dumps(body) if body else None,
        )
        is_json = "json" in answer.headers["content-type"]
        text = answer.text.replace(cluster.namespace, "NS")
        assert title not in found
        found[title] = [answer.status_code, _comparable(json.loads(text)) if is_json else text]
    return found


def _comparable(body: dict[str, Any]) -> Any:
    """Without what a stand-in cannot know: identities, times, bookkeeping."""
    if body["kind"].endswith("List"):
        return {**body, "metadata": {}}
    if body["kind"] == "Status":
        details = {key: value for key, value in (body.get("details") or {}).items() if key != "uid"}
        if "causes" in details:  # of several managers, in any order
            details["causes"].sort(key=lambda cause: (cause["message"], cause["field"]))
            start, *parts = body["message"].split("conflicts with ")
            body["message"] = [start, *sorted(part.strip() for part in parts)]
        return {**body, "details": details}
    body["metadata"] = {key: value for key, value in body["metadata"].items() if key in {"name", "labels"}}
    return body


def test_the_answers_are_those_that_a_real_server_gave(cluster):
    found = answers_of(cluster)
    if os.environ.get("RECORD_KUBE") and cluster.is_real:
        lines = [f"{json.dumps(title)}: {json.dumps(answer, sort_keys=True)}" for title, answer in found.items()]
        FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    recorded = json.loads(FILE.read_text())
    assert found.keys() == recorded.keys()
    for title, answer in found.items():
        assert (title, answer) == (title, recorded[title])


def test_a_server_is_looked_for_where_the_convention_says(tmp_path, monkeypatch):
    from tests.kube.server import KubeAbsentError, find_programs

    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))
    with pytest.raises(KubeAbsentError, match="kube-apiserver is not there; `make kube` builds it"):
        find_programs()
    for name in ("kube-apiserver", "etcd"):
        (tmp_path / name).touch()
    assert find_programs() == (tmp_path / "kube-apiserver", tmp_path / "etcd")
