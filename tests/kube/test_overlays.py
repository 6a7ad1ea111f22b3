"""What `divisions manifests` writes, with kubectl and a real API server: each overlay is accepted, and then is ours."""

from __future__ import annotations

import subprocess
from dataclasses import replace

import pytest
import yaml

from deploy.kubernetes.api import Api
from deploy.kubernetes.apply import carry_out, compare
from deploy.kubernetes.kustomize import files
from deploy.kubernetes.manifests import key_of, render
from deploy.kubernetes.values import Values
from tests.deploy.kubernetes.test_manifests import FULL, PIPELINE, PLAIN
from tests.kubectl import KUBECTL, needs_kubectl

pytestmark = [pytest.mark.kube, needs_kubectl]
OVERLAYS = {
    "staging": replace(PLAIN, namespace="overlay-staging", gpu="", replicas=1, schedule_paused=True),
    "production": replace(FULL, namespace="overlay-production"),
    "applied": replace(FULL, namespace="overlay-applied"),
}


class Kubectl:
    def __init__(self, server) -> None:
        self._command = [KUBECTL, "--kubeconfig", str(server.kubeconfig())]

    def __call__(self, *arguments: str) -> str:
        done = subprocess.run([*self._command, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout


@pytest.fixture(scope="module")
def kubectl(kube_server):
    return Kubectl(kube_server)


@pytest.fixture(scope="module")
def written(tmp_path_factory, kubectl):
    """The files, and beside each overlay one without the kinds that the server of the tests does not know."""
    folder = tmp_path_factory.mktemp("overlays")
    for path, text in files(Values(), OVERLAYS, PIPELINE).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    served = {tuple(line.split()[-3::2]) for line in kubectl("api-resources", "--no-headers").splitlines()}
    for name, values in OVERLAYS.items():
        unserved = [each["kind"] for each in render(values, PIPELINE) if key_of(each)[:2] not in served]
        deleted = "$patch: delete\napiVersion: v1\nkind: {}\nmetadata:\n  name: any\n"
        taken_out = [{"target": {"kind": kind}, "patch": deleted.format(kind)} for kind in unserved]
        (folder / "served" / name).mkdir(parents=True)
        content = yaml.safe_dump({"resources": [f"../../overlays/{name}"], "patches": taken_out})
        (folder / "served" / name / "kustomization.yaml").write_text(content)
        kubectl("create", "namespace", values.namespace)
    return folder


@pytest.mark.parametrize("how", [[], ["--server-side"]], ids=["client-side", "server-side"])
@pytest.mark.parametrize("name", ["staging", "production"])
def test_the_server_accepts_an_overlay(kubectl, written, name, how):
    said = kubectl("apply", *how, "--dry-run=server", "-k", str(written / "served" / name))
    lines = [line for line in said.splitlines() if "dry run" in line]
    assert f"raycluster.ray.io/divisions {'serverside-applied' if how else 'created'} (server dry run)" in lines
    kept = yaml.safe_load((written / "served" / name / "kustomization.yaml").read_text())
    assert len(lines) == len(render(OVERLAYS[name], PIPELINE)) + 1 - len(kept["patches"])


def test_what_an_administrator_applies_first_is_no_conflict_later(kubectl, written, kube_server):
    """As docs/kubernetes.md says it: under our name. Under kubectl's own, each changed value would be a conflict."""
    values = OVERLAYS["applied"]
    kubectl("apply", "--server-side", "--field-manager=divisions", "-k", str(written / "served" / "applied"))
    changed = replace(values, max_replicas=20, gateway_cpus="3")
    with Api(values.namespace, kubeconfig=kube_server.kubeconfig()) as api:
        found = compare(api, changed, render(changed, PIPELINE))
        assert found.conflicts == ()
        carry_out(api, changed, found, force=False, say=lambda line: None)
        assert compare(api, changed, render(changed, PIPELINE)).changes == ()
