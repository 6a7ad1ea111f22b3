"""Deployments to a cluster through its API: the same cases on a real API server and on the stand-in."""

from __future__ import annotations

import subprocess
from dataclasses import replace

import pytest

from deploy.kubernetes import apply_set
from deploy.kubernetes.access import DEPLOYER_RULES
from deploy.kubernetes.apply import carry_out, compare
from deploy.kubernetes.manifests import key_of, render
from deploy.kubernetes.scale import replicas_of, scale
from deploy.kubernetes.values import Entry
from divisions.errors import AccessDeniedError, ClusterError, ConflictError, DivisionsError
from tests.kube.clusters import NOBODY, PIPELINE, StandInCluster
from tests.kubectl import KUBECTL, needs_kubectl

CLUSTER = ("ray.io/v1", "RayCluster", "divisions")
SERVICE = ("v1", "Service", "divisions-gateway")
STABLE, CANARY = "churn-predictor-v3", "churn-predictor-v3-canary"


def found_by(api, values):
    return compare(api, values, render(values, PIPELINE))


def deploy(api, values, *, force=False):
    said = []
    carry_out(api, values, found_by(api, values), force=force, say=said.append)
    return said


@pytest.fixture
def api(cluster):
    """An administrator's, of a namespace in which everything is deployed."""
    with cluster.api() as found:
        deploy(found, cluster.values)
        yield found


def test_all_objects_are_made_and_a_second_time_nothing_is_written(cluster):
    with cluster.api() as api:
        said = deploy(api, cluster.values)
        left_out = len(found_by(api, cluster.values).notices)
        assert len(said) + left_out == len(render(cluster.values, PIPELINE))
        before = {kind: api.get(*kind)["metadata"]["resourceVersion"] for kind in (CLUSTER, SERVICE)}
        assert deploy(api, cluster.values) == []
        assert {kind: api.get(*kind)["metadata"]["resourceVersion"] for kind in (CLUSTER, SERVICE)} == before


def test_a_comparison_makes_nothing(cluster):
    with cluster.api() as api:
        assert found_by(api, cluster.values).changes
        assert api.get(*CLUSTER) is None
        assert api.get("v1", "ConfigMap", "divisions-set") is None


def test_what_the_cluster_does_not_serve_is_left_out_with_a_notice(cluster):
    with cluster.api() as api:
        notices = found_by(api, cluster.values).notices
    assert "metrics are not scraped: the cluster has no Prometheus operator" in notices


def test_a_cluster_without_the_resources_of_kuberay_is_told(cluster, request):
    if cluster.is_real:
        told = cluster.server.bare_refusal
    else:
        bare = StandInCluster("ml", missing=["RayCluster", "RayJob"])
        with bare.api() as api, pytest.raises(ClusterError) as caught:
            found_by(api, bare.values)
        told = caught.value
    assert "has no RayCluster (ray.io/v1). install KubeRay's operator" in str(told)


def test_a_way_in_that_the_cluster_lacks_is_told_before_anything_is_made(cluster):
    values = replace(cluster.values, entry=Entry.GATEWAY_API, host="churn.example", entry_class="public")
    with cluster.api() as api, pytest.raises(ClusterError, match="has no HTTPRoute") as caught:
        deploy(api, values)
    assert "install the Gateway API" in caught.value.remedy
    assert cluster.api().get(*CLUSTER) is None


def test_a_changed_value_is_shown_and_applied(cluster, api):
    changed = replace(cluster.values, max_replicas=20)
    (change,) = found_by(api, changed).changes
    assert "spec.workerGroupSpecs[1].maxReplicas: 10 → 20" in change.lines
    assert deploy(api, changed) == ["~ RayCluster divisions"]
    assert found_by(api, changed).changes == ()


def test_pods_that_were_scaled_stay_and_are_no_conflict(cluster, api):
    assert scale(api, "divisions", STABLE, 4).before == 2
    assert found_by(api, cluster.values).changes == ()
    deploy(api, replace(cluster.values, max_replicas=20))
    assert replicas_of(api.get(*CLUSTER), STABLE) == 4
    assert scale(api, "divisions", CANARY, 1).before == 0
    assert found_by(api, replace(cluster.values, max_replicas=20)).changes == ()


def test_a_group_that_has_moved_in_the_list_is_not_scaled_for_another(cluster, api):
    """The patch tests the place of the group; the refused one is an error that is tried again."""
    operations = [
        {"op": "test", "path": "/spec/workerGroupSpecs/0/groupName", "value": STABLE},
        {"op": "add", "path": "/spec/workerGroupSpecs/0/replicas", "value": 9},
    ]
    with pytest.raises(ConflictError, match="has just been changed by another"):
        api.patch(*CLUSTER, operations, "divisions-scale")
    assert replicas_of(api.get(*CLUSTER), "gateway") == 2


def test_drift_is_told_and_mended_by_force_only(cluster, api):
    cluster.edit("services", "divisions-gateway", {"spec": {"type": "NodePort"}})
    (change,) = found_by(api, cluster.values).conflicts
    assert change.conflicts == {"kubectl-edit": (".spec.type",)}
    changed = replace(cluster.values, max_replicas=20)
    with pytest.raises(ConflictError, match=r"kubectl-edit has set \.spec\.type; nothing was applied") as caught:
        deploy(api, changed)
    assert "--force-conflicts" in caught.value.remedy
    assert api.get(*CLUSTER)["spec"]["workerGroupSpecs"][1]["maxReplicas"] == 10
    deploy(api, changed, force=True)
    assert api.get(*SERVICE)["spec"]["type"] == "ClusterIP"
    assert found_by(api, changed).changes == ()


@pytest.mark.kube
@needs_kubectl
def test_drift_made_with_kubectl_is_told_and_mended_by_force_only(kube_server, real_cluster):
    cluster = real_cluster
    with cluster.api() as api:
        deploy(api, cluster.values)
        command = [KUBECTL, "--kubeconfig", str(kube_server.kubeconfig()), "--namespace", cluster.namespace]
        patch = ["patch", "service", "divisions-gateway", "--type=merge", "--patch", '{"spec": {"type": "NodePort"}}']
        subprocess.run([*command, *patch], check=True, capture_output=True)
        with pytest.raises(ConflictError, match=r"Service divisions-gateway: kubectl-patch has set \.spec\.type"):
            deploy(api, cluster.values)
        assert deploy(api, cluster.values, force=True) == ["~ Service divisions-gateway"]
        assert api.get(*SERVICE)["spec"]["type"] == "ClusterIP"


def test_a_template_that_was_edited_is_drift_and_its_replica_count_is_none(cluster, api):
    groups = api.get(*CLUSTER)["spec"]["workerGroupSpecs"]
    groups[1]["template"]["spec"]["containers"][0]["image"] = "other"
    groups[1]["replicas"] = 7
    cluster.edit("rayclusters", "divisions", {"spec": {"workerGroupSpecs": groups}})
    with pytest.raises(ConflictError, match=r"kubectl-edit has set \.spec\.workerGroupSpecs"):
        deploy(api, cluster.values)
    deploy(api, cluster.values, force=True)
    live = api.get(*CLUSTER)
    assert replicas_of(live, STABLE) == 7
    assert "'other'" not in str(live["spec"])


def test_the_field_of_another_manager_is_left_alone_unless_we_want_another_value(cluster, api):
    cluster.edit("services", "divisions-gateway", {"metadata": {"labels": {"team": "risk"}}}, manager="helm")
    assert found_by(api, cluster.values).changes == ()
    cluster.edit("services", "divisions-gateway", {"metadata": {"labels": {"app.kubernetes.io/name": "x"}}}, "helm")
    with pytest.raises(ConflictError, match="helm has set"):
        deploy(api, cluster.values)
    deploy(api, cluster.values, force=True)
    assert api.get(*SERVICE)["metadata"]["labels"]["team"] == "risk"


def test_what_is_no_longer_wanted_is_removed_and_nothing_of_others(cluster):
    with cluster.api() as api:
        deploy(api, replace(cluster.values, entry=Entry.INGRESS, host="churn.example"))
        theirs = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "theirs"}, "data": {"a": "b"}}
        cluster.make("configmaps", theirs)
        said = deploy(api, cluster.values)
        assert "- Ingress divisions" in said
        assert [line for line in said if line.startswith("- RayJob")], "the job of the other settings"
        assert api.list("networking.k8s.io/v1", "Ingress") == []
        assert api.get("v1", "ConfigMap", "theirs") is not None
        parent = api.get("v1", "ConfigMap", "divisions-set")
        assert "Ingress.networking.k8s.io" not in apply_set.kinds_of(parent)
        assert found_by(api, cluster.values).changes == ()


def test_an_object_that_changed_meanwhile_is_not_overwritten(cluster, api):
    stale = api.get(*SERVICE)["metadata"]["resourceVersion"]
    cluster.edit("services", "divisions-gateway", {"metadata": {"labels": {"team": "risk"}}})
    wanted = next(each for each in render(cluster.values, PIPELINE) if key_of(each) == SERVICE)
    wanted["metadata"]["resourceVersion"] = stale
    with pytest.raises(ConflictError, match="has just been changed by another"):
        api.apply(wanted)


def test_a_namespace_that_is_absent_is_told_with_the_command_that_makes_it(cluster):
    with cluster.api(namespace="absent") as api, pytest.raises(ClusterError, match="no namespace absent") as caught:
        deploy(api, replace(cluster.values, namespace="absent"))
    assert "kubectl create namespace absent" in caught.value.remedy


def test_without_a_binding_the_first_verb_is_named(cluster):
    with (
        cluster.api(NOBODY) as api,
        pytest.raises(AccessDeniedError, match=r"nobody may not get serviceaccounts in the namespace") as caught,
    ):
        deploy(api, cluster.values)
    assert "RoleBinding to the Role of deployers" in caught.value.remedy


def test_the_role_of_deployers_is_enough_for_all_that_deploy_does(cluster):
    """Also to make Roles: nobody may grant what he has not."""
    user = cluster.grant(DEPLOYER_RULES)
    with cluster.api(user) as api:
        assert "- Ingress divisions" in deploy_and_prune(api, cluster.values)
        scale(api, "divisions", STABLE, 4)
        assert deploy(api, cluster.values) == []
        assert api.list("v1", "Pod") == api.list("v1", "Event") == []


def deploy_and_prune(api, values):
    deploy(api, replace(values, entry=Entry.INGRESS, host="churn.example"))
    return deploy(api, values)


def without(verb, resource):
    """The rules of deployers without one right."""
    found = []
    for group, kinds, verbs in DEPLOYER_RULES:
        found.append((group, [each for each in kinds if each != resource], verbs))
        if resource in kinds:
            found.append((group, [resource], [each for each in verbs if each != verb]))
    return [rule for rule in found if rule[1]]


@pytest.mark.parametrize(
    ("verb", "resource"),
    [
        ("get", "configmaps"),
        ("patch", "networkpolicies"),
        ("create", "services"),
        ("patch", "rayclusters"),
        ("list", "configmaps"),
        ("delete", "ingresses"),
        ("create", "rolebindings"),
    ],
)
def test_each_verb_that_is_lacking_is_named(cluster, verb, resource):
    with cluster.api(cluster.grant(without(verb, resource))) as api, pytest.raises(DivisionsError) as caught:
        deploy_and_prune(api, cluster.values)
    assert isinstance(caught.value, AccessDeniedError), str(caught.value)
    told = str(caught.value)
    assert f" {verb} {resource}" in told.partition(". ask for")[0], told
    assert "may not grant with Role divisions-deployer" in told or f"in the namespace {cluster.namespace}" in told


@pytest.mark.kube
def test_a_right_that_our_roles_grant_but_the_caller_lacks_is_named(real_cluster):
    """The stand-in does not know what Roles grant."""
    cluster = real_cluster
    with cluster.api(cluster.grant(without("list", "rayjobs"))) as api, pytest.raises(AccessDeniedError) as caught:
        deploy(api, cluster.values)
    assert "may not grant with Role divisions-nightly what they may not do themselves: list rayjobs" in str(
        caught.value
    )


def test_expired_credentials_are_told(cluster):
    with cluster.api("expired") as api, pytest.raises(AccessDeniedError, match="the cluster refuses our credentials"):
        deploy(api, cluster.values)
