"""Applying: once and not twice, nobody's changes overwritten unasked, nothing left behind."""

import copy
from dataclasses import replace

import pytest

from deploy.kubernetes import apply_set
from deploy.kubernetes.apply import carry_out, compare
from deploy.kubernetes.manifests import render
from deploy.kubernetes.scale import replicas_of, scale
from deploy.kubernetes.values import Entry
from divisions.errors import ClusterError, ConflictError, UsageError
from tests.deploy.kubernetes.fake_api import FakeApi
from tests.deploy.kubernetes.test_manifests import PLAIN

VALUES = replace(PLAIN, namespace="ml")
CLUSTER = ("ray.io/v1", "RayCluster", "divisions")


def deploy(api, values=VALUES, *, force=False):
    said = []
    found = compare(api, values, render(values, "pipeline: a"))
    carry_out(api, values, found, force=force, say=said.append)
    return said


@pytest.fixture
def api():
    found = FakeApi()
    deploy(found)
    return found


def test_all_objects_are_made_and_a_second_time_nothing_is_written(api):
    assert len(api.objects) == len(render(VALUES, "pipeline: a")) + 1, "and the parent of the set"
    api.writes.clear()
    assert compare(api, VALUES, render(VALUES, "pipeline: a")).changes == ()
    assert deploy(api) == []
    assert api.writes == []


def test_the_parent_names_the_kinds_and_the_members_name_the_parent(api):
    parent = api.get("v1", "ConfigMap", "divisions-set")
    assert parent["metadata"]["labels"][apply_set.ID] == apply_set.selector(VALUES)[apply_set.PART_OF]
    assert apply_set.kinds_of(parent) >= {"RayCluster.ray.io", "Service", "CronJob.batch"}


def test_a_changed_value_is_shown_and_applied(api):
    changed = replace(VALUES, max_replicas=20)
    (change,) = compare(api, changed, render(changed, "pipeline: a")).changes
    assert str(change) == "~ RayCluster divisions"
    assert "spec.workerGroupSpecs[1].maxReplicas: 10 → 20" in change.lines
    assert deploy(api, changed) == ["~ RayCluster divisions"]


def test_pods_that_were_scaled_stay_and_are_no_conflict(api):
    assert scale(api, "divisions", "churn-predictor-v3", 4).before == 2
    assert compare(api, VALUES, render(VALUES, "pipeline: a")).changes == ()
    deploy(api, replace(VALUES, max_replicas=20))
    cluster = api.get(*CLUSTER)
    assert replicas_of(cluster, "churn-predictor-v3") == 4
    assert cluster["spec"]["workerGroupSpecs"][1]["maxReplicas"] == 20


def test_drift_is_told_and_mended_with_force_only(api):
    service = api.get("v1", "Service", "divisions-gateway")
    service["spec"]["type"] = "NodePort"
    api.edit(service, "kubectl-edit")
    (change,) = compare(api, VALUES, render(VALUES, "pipeline: a")).conflicts
    assert change.conflicts == {"kubectl-edit": (".spec.type",)}
    api.writes.clear()
    with pytest.raises(
        ConflictError, match=r"Service divisions-gateway: kubectl-edit has set .spec.type; nothing was"
    ) as caught:
        deploy(api, replace(VALUES, max_replicas=20))
    assert "--force-conflicts" in caught.value.remedy
    assert api.writes == []
    deploy(api, force=True)
    assert api.get("v1", "Service", "divisions-gateway")["spec"]["type"] == "ClusterIP"


def test_a_template_that_was_edited_by_hand_is_drift_though_the_list_also_has_replicas(api):
    cluster = api.get(*CLUSTER)
    cluster["spec"]["workerGroupSpecs"][1]["template"]["spec"]["containers"][0]["image"] = "other"
    cluster["spec"]["workerGroupSpecs"][1]["replicas"] = 7
    api.edit(cluster, "kubectl-edit")
    with pytest.raises(ConflictError, match=r"kubectl-edit has set .spec.workerGroupSpecs"):
        deploy(api)
    deploy(api, force=True)
    assert replicas_of(api.get(*CLUSTER), "churn-predictor-v3") == 7, "the count is nobody's drift"
    assert "other" not in str(api.get(*CLUSTER))


def test_what_is_no_longer_wanted_is_removed_and_nothing_of_others():
    api = FakeApi()
    with_entry = replace(VALUES, entry=Entry.INGRESS, host="churn.example")
    deploy(api, with_entry)
    theirs = {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "theirs"}, "spec": {}}
    api.apply(theirs, manager="somebody")
    said = deploy(api)
    assert "- Ingress divisions" in said
    assert [line for line in said if line.startswith("- RayJob")], "the job of the other settings"
    assert {name for _, kind, name in api.objects if kind == "Ingress"} == {"theirs"}
    assert "Ingress.networking.k8s.io" not in apply_set.kinds_of(api.get("v1", "ConfigMap", "divisions-set"))


@pytest.mark.parametrize("stop", range(1, 8))
def test_an_apply_that_is_cut_off_is_completed_by_the_next(stop):
    class DeadError(Exception):
        pass

    class Mortal(FakeApi):
        def apply(self, manifest, **how):
            if not how.get("dry_run") and len(self.writes) == stop:
                raise DeadError
            return super().apply(manifest, **how)

    api = Mortal()
    with pytest.raises(DeadError):
        deploy(api)
    api.__class__ = FakeApi
    deploy(api)
    whole = FakeApi()
    deploy(whole)
    assert set(api.objects) == set(whole.objects)


def test_a_cluster_without_kuberay_is_told():
    with pytest.raises(ClusterError, match="has no RayCluster") as caught:
        deploy(FakeApi(missing={"RayCluster", "RayJob"}))
    assert "KubeRay's operator" in caught.value.remedy


def test_what_a_cluster_may_lack_is_left_out_with_a_notice():
    api = FakeApi(missing={"ServiceMonitor", "PodDisruptionBudget"})
    found = compare(api, VALUES, render(VALUES, "pipeline: a"))
    assert len(found.notices) == 2
    carry_out(api, VALUES, found, force=False, say=lambda line: None)
    assert not {"ServiceMonitor", "PodDisruptionBudget"} & {kind for _, kind, _ in api.objects}


def test_a_group_can_never_be_removed(api):
    with pytest.raises(ClusterError, match="has the worker group churn-predictor-v3, which the manifests lack"):
        deploy(api, replace(VALUES, model="other"))


def test_the_replicas_that_the_autoscaler_writes_meanwhile_are_read_again(api):
    """The stale apply is refused, and the second try carries over."""

    class Raced(FakeApi):
        raced = False

        def get(self, version, kind, name):
            found = super().get(version, kind, name)
            if kind == "RayCluster" and self.armed and not self.raced:
                self.raced = True
                other = copy.deepcopy(found)
                other["spec"]["workerGroupSpecs"][1]["replicas"] = 9
                self.edit(other, "divisions-scale")
            return found

    api.__class__ = Raced
    api.armed = False
    changed = replace(VALUES, max_replicas=20)
    found = compare(api, changed, render(changed, "pipeline: a"))
    api.armed = True
    carry_out(api, changed, found, force=False, say=lambda line: None)
    assert api.raced
    assert replicas_of(api.get(*CLUSTER), "churn-predictor-v3") == 9


def test_scaling_refuses_what_the_group_may_not_have(api):
    with pytest.raises(UsageError, match="0 to 10 pods, not 11"):
        scale(api, "divisions", "churn-predictor-v3", 11)
    with pytest.raises(UsageError, match="no group churn"):
        scale(api, "divisions", "churn", 1)
    with pytest.raises(ClusterError, match="no RayCluster other"):
        scale(api, "other", "gateway", 1)
    assert scale(api, "divisions", "gateway", 2).before == 2
