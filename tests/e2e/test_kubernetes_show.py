"""The page's console on real parts: ``divisions deploy --target staging`` to Kubernetes.

Real are the command, the API server with KubeRay's resources, the rights of the Role for deployers, the registry with
TLS and a password, and the cluster that serves, in place of the pods. Tests play KubeRay's operator and the kubelets.
AWS is moto: as with EKS, a program of the kubeconfig gets the API server's token for AWS's credentials.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import sqlite3
import sys
import threading
import time
from contextlib import ExitStack

import pytest
import yaml
from moto.server import ThreadedMotoServer

from deploy.kubernetes.access import DEPLOYER_RULES
from deploy.supervision.processes import wait_until
from divisions.online_store import online_store_path, table_of
from tests.builders import SHORT_ANALYSIS
from tests.conftest import skipped_where_absent
from tests.deploy.kubernetes.test_manifests import IMAGE
from tests.e2e.command_line import run_divisions, start_divisions
from tests.e2e.homes import PIPELINE, Home, answer
from tests.e2e.test_oci_store import write_login
from tests.kube.clusters import RealCluster
from tests.kube.nodes import Nodes
from tests.oci_registry import running_registry
from tests.servers import PASSWORD

pytestmark = [pytest.mark.e2e, pytest.mark.kube, pytest.mark.long]

NAMESPACE = "ml-staging"
CANARY_POD = "churn-predictor-v3-canary-0"
EXEC_PLUGIN = """
import boto3, json, pathlib, sys
boto3.client("sts").get_caller_identity()
status = {"token": pathlib.Path(sys.argv[1]).read_text()}
kind = {"apiVersion": "client.authentication.k8s.io/v1beta1", "kind": "ExecCredential"}
print(json.dumps({**kind, "status": status}))
"""


class Show:
    """The parts, and the machine that deploys, with a home of its own."""

    def __init__(self, folder, server, registry, aws: str, home: Home) -> None:
        self.registry, self.home = registry, home
        self.cluster = RealCluster(server, NAMESPACE)
        self.user = self.cluster.grant(DEPLOYER_RULES)
        self.lines: list[str] = []
        self._folder = folder
        deployer = Home(folder / "deployer")
        deployer.take_over_old()
        (folder / "pipeline.yaml").write_text(PIPELINE.rstrip() + SHORT_ANALYSIS)
        (folder / "plugin.py").write_text(EXEC_PLUGIN)
        (folder / "token").write_text(server.tokens[self.user])
        (folder / "targets.yaml").write_text(yaml.safe_dump({"targets": {"staging": self._target()}}))
        region = {"AWS_DEFAULT_REGION": "eu-central-1", "AWS_ENDPOINT_URL": aws}
        self.environment = {
            **deployer.environment,
            **{"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", **region},
            "DIVISIONS_TOKEN": (home.path / "token").read_text().strip(),
            "DOCKER_CONFIG": home.environment["DOCKER_CONFIG"],
            "SSL_CERT_FILE": home.environment["SSL_CERT_FILE"],
            "KUBECONFIG": str(self._kubeconfig(server)),
        }

    def _target(self):
        values = {"namespace": NAMESPACE, "image": IMAGE, "gpu": "", "replicas": 1, "schedule_paused": True}
        artifacts = {"artifacts": self.registry.artifacts, "control_url": self.home.url}
        return {"kind": "kubernetes", "context": "staging", "ready_s": 240, **artifacts, "values": values}

    def _kubeconfig(self, server):
        path = server.kubeconfig(self.user, "staging")
        content = yaml.safe_load(path.read_text())
        plugin = {"apiVersion": "client.authentication.k8s.io/v1beta1", "command": sys.executable}
        arguments = [str(self._folder / "plugin.py"), str(self._folder / "token")]
        content["users"][0]["user"] = {"exec": {**plugin, "args": arguments, "interactiveMode": "Never"}}
        path.write_text(yaml.safe_dump(content))
        return path

    def deploy(self, version: str, *options: str):
        files = [f"--{name}={self._folder / name}.yaml" for name in ("pipeline", "targets")]
        return self.run("deploy", *files, "--target", "staging", "--version", version, *options)

    def deploy_until(self, version: str, text: str) -> None:
        """Deploys, and ends the command with SIGKILL when it prints this."""
        files = [f"--{name}={self._folder / name}.yaml" for name in ("pipeline", "targets")]
        with start_divisions(
            self.environment, "deploy", *files, "--target", "staging", "--version", version
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                self.lines.append(line.rstrip())
                if text in line:
                    process.kill()
                    self.lines.append("kill -9")
                    return
        raise AssertionError(f"it ended before it printed {text!r}: {self.lines[-8:]}")

    def go_back(self, *options: str):
        files = [f"--{name}={self._folder / name}.yaml" for name in ("pipeline", "targets")]
        return self.run("deploy", *files, "--target", "staging", "--rollback", *options)

    def status(self) -> str:
        return self.run("status", f"--targets={self._folder}/targets.yaml", "--target", "staging").stdout

    def run(self, *arguments: str):
        done = run_divisions(self.environment, *arguments)
        self.lines.append(f"$ divisions {' '.join(arguments)}\n{done.stdout}{done.stderr}")
        return done


@pytest.fixture(scope="module")
def show(tmp_path_factory, kube_server):
    """The parts, of which the cluster serves nothing yet. It has the features of the customers."""
    folder = tmp_path_factory.mktemp("show")
    with ExitStack() as stack:
        with skipped_where_absent():
            registry = stack.enter_context(running_registry(folder / "registry", is_secure=True))
        moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        moto.start()
        stack.callback(moto.stop)
        home, old = Home(folder / "pods"), Home(folder / "old")
        old.take_over_old()
        home.path.mkdir(mode=0o700)
        (old.path / "features").rename(home.path / "features")
        home.environment |= {
            "DIVISIONS_ARTIFACTS": registry.artifacts,
            "DOCKER_CONFIG": str(write_login(folder, registry, PASSWORD).parent),
            "SSL_CERT_FILE": str(registry.authority),
        }
        started = home.run("up")
        assert started.returncode == 0, started.stderr
        stack.callback(home.run, "down")
        host, port = moto.get_host_and_port()
        found = Show(folder, kube_server, registry, f"http://{host}:{port}", home)
        with found.cluster.api() as api, Nodes(found.cluster, api).at_work():
            yield found
        print("\n".join(found.lines))  # the transcript, with ``-s``


@pytest.fixture(scope="module")
def deployed(show):
    """Version 3.1 is deployed twice."""
    return show.deploy("3.1"), show.deploy("3.1")


def predicts(show, customer: str = "c-1") -> bool:
    body = {"customer_id": customer}
    status, _ = answer(f"{show.home.url}/api/v2/predict/churn", body, [("content-type", "application/json")])
    return status == 200


def done(output: str) -> list[str]:
    return [line[11:].partition(" (")[0] for line in output.splitlines() if line[11:12] == "✓"]


def test_a_first_version_is_deployed_step_by_step(show, deployed):
    first, _ = deployed
    assert first.returncode == 0, first.stdout + first.stderr
    url = show.cluster.server.url
    titles = done(first.stdout)
    assert titles[:2] == [f"✓ Authenticate at {url}", "✓ Check every byte of churn-predictor/983bcb85994baa91"]
    assert titles[2:4] == ["✓ Package churn-predictor-v3.1.tar.gz", f"✓ Push the bundle to {show.registry.artifacts}"]
    assert titles[4:] == [
        "✓ Update the Kubernetes manifests",
        "✓ Wait until the pods are ready",
        "✓ Start the rollout of churn-predictor 3.1",
        "✓ Watch churn until the rollout ends",
        "✓ churn-predictor 3.1 serves all traffic of staging",
    ]
    assert predicts(show)
    assert list((show.home.path / "bundles").rglob("model.onnx")), "pulled from the registry by the cluster"


def test_the_same_version_again_changes_nothing(show, deployed):
    _, again = deployed
    assert again.returncode == 0, again.stderr
    assert again.stdout.splitlines()[-1].endswith("✓ staging serves churn-predictor 3.1 already: nothing was changed")
    assert "gateway-0" in show.status()


@contextlib.contextmanager
def load(show):
    """Callers of all customers in the store, for as long as the block: one customer always gets the same version."""
    ends = threading.Event()
    path = online_store_path(show.home.path)
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as store:
        customers = [name for (name,) in store.execute(f"SELECT entity_id FROM {table_of('churn')}")]
    assert len(customers) == 20

    def call() -> None:
        for customer in itertools.cycle(customers):
            if ends.is_set():
                return
            assert predicts(show, customer)
            time.sleep(0.01)

    callers = [threading.Thread(target=call, daemon=True) for _ in range(2)]
    for caller in callers:
        caller.start()
    try:
        yield
    finally:
        ends.set()
        for caller in callers:
            caller.join()


def next_version(show) -> str:
    registered = show.run("models", "register", "churn-predictor", "--from", "3.1", "--output", "json")
    return json.loads(registered.stdout)["version"]


@pytest.fixture(scope="module")
def second(show, deployed):
    """The next version is deployed under load; returns it, how that ended, and the pods."""
    version = next_version(show)
    with load(show):
        return version, show.deploy(version), show.status()


def test_the_next_version_is_a_canary_first(show, second):
    version, ended, pods = second
    assert ended.returncode == 0, ended.stdout + ended.stderr
    titles = done(ended.stdout)
    assert "✓ Raise churn-predictor-v3-canary from 0 to 1 pods" in titles
    assert titles[-1] == f"✓ churn-predictor {version} serves all traffic of staging"
    assert CANARY_POD in pods


def test_a_deployment_that_is_killed_while_it_rolls_goes_on_to_its_end(show, second):
    """Killed twice: as it starts the rollout, and while the rollout goes on."""
    version = next_version(show)
    with load(show):
        show.deploy_until(version, f"Start the rollout of churn-predictor {version}")
        show.deploy_until(version, f" % of churn to {version}: ")
        assert predicts(show), "nobody watches, and the cluster serves on"
        last = show.deploy(version)
    assert last.returncode == 0, last.stdout + last.stderr
    assert "Going on with deployment" in last.stdout
    assert done(last.stdout)[-1] == f"✓ churn-predictor {version} serves all traffic of staging"
    assert not any(title.startswith("✓ Start the rollout") for title in done(last.stdout)), "it was started once"
    found = json.loads(show.run("deployments", "--output", "json").stdout)["deployments"]
    assert [each["ending"] for each in found if each["version"] == version] == ["promoted"]


def serving(show) -> str:
    """The version that has all traffic."""
    return json.loads(show.home.run("rollout", "status", "churn", "--output", "json").stdout)["stable_version"]


def test_a_target_is_taken_back_by_hand_after_a_promotion_and_in_a_canary(show, second):
    newest = serving(show)
    assert show.go_back().returncode == 0
    before = serving(show)
    assert before != newest
    version = next_version(show)
    begun = show.deploy(version, "--no-watch")
    assert begun.returncode == 0, begun.stdout + begun.stderr
    assert CANARY_POD in show.status()
    back, again = show.go_back(), show.go_back("--version", before)
    assert back.returncode == again.returncode == 0, back.stdout + back.stderr + again.stderr
    assert done(back.stdout)[-1] == f"✓ churn-predictor {before} serves all traffic of staging"
    assert done(again.stdout)[-1].endswith("already: nothing was changed")
    assert (serving(show), predicts(show)) == (before, True)
    assert wait_until(lambda: CANARY_POD not in show.status(), 60.0), "its group was lowered"
