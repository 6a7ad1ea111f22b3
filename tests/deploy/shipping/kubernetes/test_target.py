"""A deployment to a cluster, with an API in memory and a gateway that is played: plan, steps, waiting, pods."""

import os
import sys
from dataclasses import replace

import pytest

from deploy.kubernetes.manifests import render
from deploy.kubernetes.scale import replicas_of, scale
from deploy.shipping.kubernetes.control import Control
from deploy.shipping.kubernetes.target import KubernetesTarget
from deploy.shipping.release import Act, Ending, Release
from deploy.shipping.target import Served, Work
from divisions.errors import ClusterError, ConflictError, UsageError
from divisions.pipeline.file import parse_pipeline
from tests.builders import rollout_status
from tests.deploy.kubernetes.fake_api import FakeApi
from tests.deploy.kubernetes.test_manifests import PLAIN
from tests.deploy.kubernetes.test_readiness import pod

VALUES = replace(PLAIN, namespace="ml")
CLUSTER = ("ray.io/v1", "RayCluster", "divisions")
CANARY = "churn-predictor-v3-canary"
RELEASE = Release("churn-predictor", "3.2", "churn", "churn-predictor/0123", "0" * 64, "churn-v3", "1" * 64)
PIPELINE = parse_pipeline(
    "pipeline: churn-v3\nstages:\n  data_prep:\n    input: d\n  deployment:\n    endpoint: /api/v2/predict/churn\n"
)


class FakeClock:
    now_s = 0.0

    def monotonic_s(self):
        return self.now_s


class FakeGateway:
    """Rollouts of an endpoint; `watch` gives what is set."""

    def __init__(self, *statuses):
        self.statuses = list(statuses)
        self.ahead = []

    def client(self):
        return self

    def rollouts(self):
        return self.statuses[-1:]

    def rollout(self, endpoint):
        return self

    def watch(self, patience):
        yield from self.ahead

    def rollback(self, to, *, generation):
        self.statuses.append(self.ahead[-1])
        return self.statuses[-1]


class World:
    def __init__(self, *statuses, values=VALUES, force=False, goes_back=False):
        self.api, self.gateway, self.clock = FakeApi(), FakeGateway(*statuses), FakeClock()
        self.said, self.started = [], []
        self.on_pause = self.play_nodes
        self.values, self.force, self.goes_back = values, force, goes_back

    def target(self):
        return KubernetesTarget(
            "staging",
            self.api,
            self.values,
            render(self.values, "pipeline: a"),
            self.gateway,
            PIPELINE,
            self.start,
            self.clock,
            self.pause,
            ready_s=60,
            overrides_others=self.force,
            goes_back=self.goes_back,
        )

    def start(self, client):
        self.started.append(client)
        self.gateway.statuses.append(rollout_status(phase="STEP", canary_version="3.2"))
        return self.gateway.statuses[-1], ()

    def pause(self, seconds):
        self.clock.now_s += seconds
        self.on_pause()

    def play_nodes(self):
        """Every pod that is wanted runs and is ready; the job has succeeded."""
        cluster = self.api.get(*CLUSTER)
        groups = {"headgroup": 1} | {
            each["groupName"]: each["replicas"] for each in cluster["spec"]["workerGroupSpecs"]
        }
        self.api.objects = {key: each for key, each in self.api.objects.items() if key[1] != "Pod"}
        for group, number in groups.items():
            for index in range(number):
                found = pod(f"{group}-{index}", group)
                found["metadata"]["labels"]["ray.io/cluster"] = "divisions"
                self.api.objects["v1", "Pod", found["metadata"]["name"]] = found
        for key, each in self.api.objects.items():
            if key[1] == "RayJob":
                each["status"] = {"jobDeploymentStatus": "Complete", "jobStatus": "SUCCEEDED"}

    def deploy(self):
        target = self.target()
        plan = target.plan(RELEASE, is_watched=True)
        work = Work(RELEASE, self.said.append)
        endings = [
            (target.watch(work) if step.act is Act.WATCH else target.apply(step, work)).ending for step in plan.steps
        ]
        return [step.name for step in plan.steps], next((each for each in reversed(endings) if each), None)


def promoted(version="3.2"):
    return rollout_status(phase="PROMOTED", stable_version=version, canary_version=None)


@pytest.fixture
def serving():
    """A cluster that serves 3.1."""
    world = World(promoted("3.1"))
    first = World()
    first.api = world.api
    first.gateway.ahead = [promoted("3.1")]
    target = first.target()
    work = Work(RELEASE, first.said.append)
    for step in target.plan(RELEASE, is_watched=False).steps[:2]:
        target.apply(step, work)
    return world


def test_a_first_deployment_makes_everything_waits_and_starts():
    world = World()
    world.gateway.ahead = [promoted()]
    steps, ending = world.deploy()
    assert steps == ["manifests", "ready", "start", "watch"]
    assert ending is Ending.PROMOTED
    assert len(world.started) == 1
    assert not [line for line in world.said if CANARY in line and "serve on" in line], "it has no pods"


def test_a_new_version_gets_pods_for_its_canary_first(serving):
    plan = serving.target().plan(RELEASE, is_watched=True)
    assert [step.name for step in plan.steps] == ["grow", "ready", "start", "watch"]
    assert f"{CANARY}: 1 pods of 2 CPUs and 8Gi, each T4/0.5 during the rollout" in plan.costs
    assert "churn-predictor-v3: 2 pods of 2 CPUs and 8Gi, each T4/1" in plan.costs
    serving.gateway.ahead = [promoted()]
    assert serving.deploy()[1] is Ending.PROMOTED
    assert replicas_of(serving.api.get(*CLUSTER), CANARY) == 1, "they serve the promoted version"
    assert [line for line in serving.said if f"divisions scale {CANARY} --replicas 0 --target staging" in line]


def test_after_a_rollback_the_canarys_pods_are_given_back(serving):
    serving.gateway.ahead = [rollout_status(phase="ROLLED_BACK", stable_version="3.1", canary_version="3.2")]
    assert serving.deploy()[1] is Ending.ROLLED_BACK
    assert replicas_of(serving.api.get(*CLUSTER), CANARY) == 0
    assert f"lowered {CANARY} from 1 to 0 pods" in serving.said


def test_an_unchanged_version_changes_nothing(serving):
    serving.gateway.statuses.append(promoted())
    serving.api.writes.clear()
    plan = serving.target().plan(RELEASE, is_watched=True)
    assert (plan.steps, plan.changes, plan.costs) == ((), (), ())
    assert serving.api.writes == []


def test_changed_manifests_of_a_version_that_serves_are_applied_alone(serving):
    serving.gateway.statuses.append(promoted())
    serving.values = replace(VALUES, max_replicas=20)
    assert serving.deploy() == (["manifests", "ready"], Ending.PROMOTED)


def test_what_was_scaled_by_hand_stays(serving):
    scale(serving.api, "divisions", "churn-predictor-v3", 4)
    serving.play_nodes()
    serving.gateway.statuses.append(promoted())
    assert serving.target().plan(RELEASE, is_watched=True).steps == ()


def test_drift_is_in_the_plan_refused_and_taken_back_by_force(serving):
    service = serving.api.get("v1", "Service", "divisions-gateway")
    service["spec"]["type"] = "NodePort"
    serving.api.edit(service, "kubectl-edit")
    assert "! kubectl-edit has set .spec.type of Service" in serving.target().plan(RELEASE, is_watched=True).changes
    with pytest.raises(ConflictError, match=r"kubectl-edit has set \.spec\.type"):
        serving.deploy()
    assert not serving.started
    serving.force = True
    serving.gateway.ahead = [promoted()]
    assert serving.deploy()[1] is Ending.PROMOTED


def test_going_back_changes_no_manifest_and_gives_the_pods_of_an_aborted_canary_back(serving):
    scale(serving.api, "divisions", CANARY, 1)
    serving.goes_back = True
    serving.values = replace(VALUES, max_replicas=20)
    serving.api.writes.clear()
    serving.gateway.statuses.append(rollout_status(stable_version="3.2", canary_version="3.3"))
    assert serving.target().served("churn") == Served("3.3", "3.2")
    serving.gateway.ahead = [rollout_status(phase="ROLLED_BACK", stable_version="3.2", canary_version="3.3")]
    assert serving.deploy() == (["back", "watch"], Ending.PROMOTED)
    assert replicas_of(serving.api.get(*CLUSTER), CANARY) == 0
    assert serving.started == []


def test_going_back_from_a_promoted_version_leaves_the_pods_that_its_predecessor_may_serve_on(serving):
    scale(serving.api, "divisions", CANARY, 1)
    serving.goes_back = True
    serving.gateway.statuses.append(promoted("3.3"))
    serving.gateway.ahead = [promoted("3.2")]
    assert serving.deploy() == (["back", "watch"], Ending.PROMOTED)
    assert replicas_of(serving.api.get(*CLUSTER), CANARY) == 1


def test_pods_that_never_get_ready_are_told_with_their_reason():
    world = World()

    def pull_fails():
        waiting = [{"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}]
        found = pod("g-0", "gateway", ready=False, containers=waiting)
        found["metadata"]["labels"]["ray.io/cluster"] = "divisions"
        world.api.objects["v1", "Pod", "g-0"] = found

    world.on_pause = pull_fails
    with pytest.raises(
        ClusterError, match=r"not ready after 60 s: .*gateway 0/2.*g-0: ImagePullBackOff: no such image"
    ):
        world.deploy()
    assert world.said.count("g-0: ImagePullBackOff: no such image") == 1, "once, not each two seconds"
    assert not world.started


def test_a_job_that_failed_ends_the_wait_at_once():
    world = World()

    def fails():
        for key, each in world.api.objects.items():
            if key[1] == "RayJob":
                each["status"] = {"jobDeploymentStatus": "Failed", "message": "no PostgreSQL"}

    world.on_pause = fails
    with pytest.raises(ClusterError, match="no PostgreSQL"):
        world.deploy()
    assert world.clock.now_s == 2


def kubectl(folder, text):
    path = folder / "kubectl"
    path.write_text(f"#!{sys.executable}\nimport sys, time\n{text}\n")
    path.chmod(0o755)


def test_kubectl_forwards_a_port_and_ends_with_the_target(tmp_path, monkeypatch):
    kubectl(
        tmp_path,
        "import os; open(sys.argv[0] + '.pid', 'w').write(str(os.getpid()))\n"
        "print('Forwarding from 127.0.0.1:4711 -> 8000', flush=True); time.sleep(600)",
    )
    monkeypatch.setenv("PATH", str(tmp_path))
    with Control("", "staging", VALUES, tmp_path) as control:
        assert control.client() is control.client()
        pid = int((tmp_path / "kubectl.pid").read_text())
        os.kill(pid, 0)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_port_that_cannot_be_forwarded_is_told(tmp_path, monkeypatch):
    kubectl(tmp_path, "print('error: no pod is ready', file=sys.stderr); sys.exit(1)")
    monkeypatch.setenv("PATH", str(tmp_path))
    with Control("", "", VALUES, tmp_path) as control, pytest.raises(ClusterError, match="error: no pod is ready"):
        control.client()
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    with Control("", "", VALUES, tmp_path) as control, pytest.raises(UsageError, match="control_url"):
        control.client()
