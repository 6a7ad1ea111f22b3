"""The client of a cluster's API over HTTP: what it sends, and what it makes of refusals."""

import json

import httpx2
import pytest
import yaml

from deploy.kubernetes.api import Api
from deploy.kubernetes.refusals import FieldConflictError, KindNotServedError
from divisions.errors import AccessDeniedError, ClusterError, ConflictError, UsageError

SERVICE = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a", "namespace": "ml"}, "spec": {}}


@pytest.fixture
def kubeconfig(tmp_path):
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "one",
        "clusters": [{"name": "c", "cluster": {"server": "https://kube.example"}}],
        "users": [{"name": "u", "user": {"token": "secret-token"}}],
        "contexts": [{"name": "one", "context": {"cluster": "c", "user": "u"}}],
    }
    path = tmp_path / "config"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture
def ask(kubeconfig):
    """An API whose server answers with a status and a body; the requests that it got."""

    def make(status, body=None, kind="application/json"):
        seen = []

        def answer(request):
            seen.append(request)
            text = body if isinstance(body, str) else json.dumps(body or {})
            return httpx2.Response(status, headers={"content-type": kind}, content=text)

        return Api("ml", kubeconfig=kubeconfig, transport=httpx2.MockTransport(answer)), seen

    return make


def refusal(code, message, details=None):
    return {"kind": "Status", "status": "Failure", "code": code, "message": message, "details": details or {}}


def test_an_apply_names_its_manager_and_is_one_request(ask):
    api, seen = ask(200, SERVICE)
    assert api.apply(SERVICE, force=True, dry_run=True) == SERVICE
    (request,) = seen
    assert request.method == "PATCH"
    assert request.headers["content-type"] == "application/apply-patch+yaml"
    assert request.headers["authorization"] == "Bearer secret-token"
    assert request.url.path == "/api/v1/namespaces/ml/services/a"
    assert dict(request.url.params) == {"fieldManager": "divisions", "force": "true", "dryRun": "All"}
    assert json.loads(request.content) == SERVICE


def test_kinds_of_groups_have_their_paths(ask):
    api, seen = ask(200, {"kind": "RayClusterList", "items": [{"metadata": {"name": "d"}}], "metadata": {}})
    assert api.list("ray.io/v1", "RayCluster", {"a": "b"}) == [
        {"apiVersion": "ray.io/v1", "kind": "RayCluster", "metadata": {"name": "d"}}
    ]
    assert seen[0].url.path == "/apis/ray.io/v1/namespaces/ml/rayclusters"
    assert seen[0].url.params["labelSelector"] == "a=b"


def test_a_json_patch_has_its_own_manager(ask):
    api, seen = ask(200, {"metadata": {"name": "d"}})
    api.patch("ray.io/v1", "RayCluster", "d", [{"op": "test", "path": "/a", "value": 1}], "divisions-scale")
    assert seen[0].headers["content-type"] == "application/json-patch+json"
    assert seen[0].url.params["fieldManager"] == "divisions-scale"


def test_what_is_absent_is_none_and_what_is_unknown_is_told(ask):
    absent = refusal(404, 'services "a" not found', {"kind": "services", "name": "a"})
    assert ask(404, absent)[0].get("v1", "Service", "a") is None
    ask(404, absent)[0].delete("v1", "Service", "a")
    with pytest.raises(KindNotServedError, match=r"kube.example does not know the kind RayCluster"):
        ask(404, "404 page not found", "text/plain")[0].get("ray.io/v1", "RayCluster", "a")
    with pytest.raises(KindNotServedError):  # the group is there, in another version
        ask(404, refusal(404, "the server could not find the requested resource"))[0].get("policy/v1", "RayJob", "a")
    no_namespace = refusal(404, 'namespaces "ml" not found', {"kind": "namespaces", "name": "ml"})
    with pytest.raises(ClusterError, match="there is no namespace ml"):
        ask(404, no_namespace)[0].apply(SERVICE)


def test_a_missing_right_names_verb_resource_and_user(ask):
    told = refusal(
        403,
        'rayclusters.ray.io "d" is forbidden: User "ci" cannot patch resource "rayclusters" in API group "ray.io" in'
        ' the namespace "ml"',
    )
    with pytest.raises(AccessDeniedError, match="ci may not patch rayclusters in the namespace ml") as caught:
        ask(403, told)[0].apply(SERVICE)
    assert "RoleBinding" in caught.value.remedy
    with pytest.raises(AccessDeniedError, match="refuses our credentials"):
        ask(401, refusal(401, "Unauthorized"))[0].get("v1", "Service", "a")


def test_a_conflict_names_managers_and_fields(ask):
    causes = [
        {"reason": "FieldManagerConflict", "message": 'conflict with "kubectl-edit" using v1', "field": ".spec.type"},
        {"reason": "FieldManagerConflict", "message": 'conflict with "helm"', "field": ".spec.ports"},
    ]
    with pytest.raises(FieldConflictError) as caught:
        ask(409, refusal(409, "Apply failed", {"causes": causes}))[0].apply(SERVICE)
    assert caught.value.fields == {"kubectl-edit": (".spec.type",), "helm": (".spec.ports",)}
    with pytest.raises(ConflictError, match="has just been changed") as stale:
        ask(409, refusal(409, "the object has been modified"))[0].apply(SERVICE)
    assert not isinstance(stale.value, FieldConflictError)


def test_what_the_cluster_refuses_is_told_in_its_words(ask):
    with pytest.raises(ClusterError, match="the cluster refuses Service a: exceeded quota: gpus"):
        ask(400, refusal(400, "exceeded quota: gpus"))[0].apply(SERVICE)
    with pytest.raises(ClusterError, match="answers 502"):
        ask(502, "<html>", "text/html")[0].apply(SERVICE)


def test_a_server_that_does_not_answer_is_told(kubeconfig):
    def fail(request):
        raise httpx2.ConnectError("connection refused")

    api = Api("ml", kubeconfig=kubeconfig, transport=httpx2.MockTransport(fail))
    with pytest.raises(ClusterError, match=r"https://kube.example does not answer: connection refused"):
        api.get("v1", "Service", "a")


@pytest.mark.parametrize(
    ("content", "context"),
    [("", ""), ("[]", ""), ("a: [", ""), ("contexts: []\nclusters: []", "two"), ("clusters: [{name: a}]", "")],
)
def test_a_kubeconfig_that_is_no_good_is_told(tmp_path, content, context):
    path = tmp_path / "config"
    path.write_text(content)
    with pytest.raises(UsageError, match="the kubeconfig cannot be used"):
        Api("ml", context, path)


def test_an_unknown_context_is_told(kubeconfig):
    with pytest.raises(UsageError, match="two"):
        Api("ml", "two", kubeconfig)
