"""The objects of a deployment: what the schemas, the security standard and KubeRay's rules demand of them."""

import dataclasses
import json
import re
from pathlib import Path

import pytest

from deploy.dashboards import FOLDER
from deploy.kubernetes.access import DEPLOYER_RULES
from deploy.kubernetes.cluster_manifest import environment
from deploy.kubernetes.manifests import key_of, namespace, render
from deploy.kubernetes.schedule import training_job
from deploy.kubernetes.values import Entry, Values
from divisions.errors import UsageError
from divisions.settings import load_settings
from router.gateway.ports import allowed_hosts
from tests.deploy.kubernetes import pod_security, schemas

ROOT = Path(__file__).parents[3]
PIPELINE = (ROOT / ".divisions/pipeline/ml_training.yaml").read_text()
IMAGE = "registry.example/divisions@sha256:" + "1" * 64
PLAIN = Values(image=IMAGE)
FULL = Values(
    namespace="ml-production",
    image=IMAGE,
    pull_secret="registry",
    entry=Entry.INGRESS,
    host="churn.example",
    entry_class="nginx",
    tls_secret="churn-tls",
    gateway_tls_secret="gateway-tls",
    oidc_config_map="issuers",
    callers_namespace="ingress-nginx",
    gateways_per_pod=2,
    artifacts="s3://models/production",
)
BY_GATEWAY_API = Values(image=IMAGE, entry=Entry.GATEWAY_API, host="churn.example", entry_class="public", gpu="")
ALL = {"plain": PLAIN, "full": FULL, "gateway api, no GPU": BY_GATEWAY_API}


@pytest.fixture(params=ALL.values(), ids=ALL)
def values(request):
    return request.param


def one(values, kind, name=None):
    (found,) = [
        each for each in render(values, PIPELINE) if each["kind"] == kind and name in {None, each["metadata"]["name"]}
    ]
    return found


def groups(values):
    return {group["groupName"]: group for group in one(values, "RayCluster")["spec"]["workerGroupSpecs"]}


def test_each_object_is_what_its_schema_says(values):
    for manifest in [*render(values, PIPELINE), namespace(values), training_job("ns", "divisions", "2025-01-14", {})]:
        schemas.check(manifest)


def test_a_misspelt_field_is_found():
    cluster = one(PLAIN, "RayCluster")
    cluster["spec"]["workerGroupSpecs"][0]["template"]["spec"]["nodeSelektor"] = {}
    with pytest.raises(AssertionError, match=r"workerGroupSpecs\[0\].template.spec.*nodeSelektor"):
        schemas.check(cluster)


def test_every_pod_may_run_where_pod_security_is_restricted(values):
    specs = [pod for manifest in render(values, PIPELINE) for pod in pod_security.pods(manifest)]
    assert len(specs) == 5
    for spec in specs:
        assert pod_security.violations(spec) == []
        assert all(each["securityContext"]["readOnlyRootFilesystem"] for each in spec["containers"])
    assert namespace(values)["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_a_root_file_system_that_is_read_only_leaves_what_ray_and_divisions_write():
    for pod in pod_security.pods(one(PLAIN, "RayCluster")):
        mounted = {mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
        assert {"/tmp", "/dev/shm", "/var/lib/divisions"} <= mounted
        assert environment(PLAIN)["DIVISIONS_HOME"].startswith("/var/lib/divisions/")


def test_every_container_asks_for_cpu_and_memory_and_no_image_lacks_its_digest(values):
    for manifest in render(values, PIPELINE):
        for pod in pod_security.pods(manifest):
            for container in pod["containers"]:
                assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
                assert "@sha256:" in container["image"]


def test_gpus_are_whole_for_stable_and_a_part_for_the_canary():
    found = groups(PLAIN)
    stable, canary = (found[name]["template"] for name in ("churn-predictor-v3", "churn-predictor-v3-canary"))
    assert stable["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert stable["spec"]["nodeSelector"] == {"nvidia.com/gpu.product": "Tesla-T4"}
    assert stable["metadata"]["annotations"] == {"divisions/gpu": "T4/1"}
    assert canary["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu.shared"] == "1"
    assert canary["spec"]["nodeSelector"] == {"nvidia.com/gpu.product": "Tesla-T4-SHARED"}
    assert canary["metadata"]["annotations"] == {"divisions/gpu": "T4/0.5"}
    assert all(each["spec"]["tolerations"][0]["key"] == "nvidia.com/gpu" for each in (stable, canary))
    assert found["gateway"]["rayStartParams"] == {}


def test_without_a_gpu_no_group_asks_for_one():
    for group in groups(BY_GATEWAY_API).values():
        spec = group["template"]["spec"]
        assert not {"nodeSelector", "tolerations"} & spec.keys()
        assert not [name for name in spec["containers"][0]["resources"]["limits"] if "gpu" in name]


def test_kuberay_takes_the_cluster(values):
    """Its own checks, which are no schema: names, the version, resources and credentials each in one place."""
    cluster = one(values, "RayCluster")
    spec = cluster["spec"]
    assert len(cluster["metadata"]["name"]) <= 53
    assert re.fullmatch(r"\d+\.\d+\.\d+", spec["rayVersion"])
    assert spec["authOptions"]["mode"] == "token"
    assert spec["upgradeStrategy"] == {"type": "None"}
    for group in spec["workerGroupSpecs"]:
        in_both = (
            group.get("resources") and {"num-cpus", "num-gpus", "memory", "resources"} & group["rayStartParams"].keys()
        )
        assert not in_both
        assert "labels" not in group["rayStartParams"]
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    for pod in pod_security.pods(cluster):
        names = {each["name"] for each in pod["containers"][0]["env"]}
        assert not names & {"REDIS_PASSWORD", "RAY_REDIS_ADDRESS", "RAY_AUTH_TOKEN"}
    for job in (one(values, "RayJob"), training_job("ns", "d", "2025-01-14", {})):
        assert len(job["metadata"]["name"]) <= 47
        assert job["spec"]["submissionMode"] == "HTTPMode"
        assert not {"backoffLimit", "suspend", "ttlSecondsAfterFinished"} & job["spec"].keys()


def test_the_settings_are_ones_that_gateways_take(values):
    """The names of the Service are answered; a misspelt variable would end every process at its start."""
    settings = load_settings(environment(values))
    hosts = allowed_hosts(settings)
    service = one(values, "Service", "divisions-gateway")["metadata"]
    assert f"{service['name']}.{service['namespace']}.svc".encode() in hosts
    assert (b"churn.example" in hosts) == bool(values.host)
    assert b"evil.example" not in hosts
    assert settings.image == values.image, "policies are told the image that serves"


def test_no_credential_is_in_an_object(values):
    """Secrets are named, mounted where they are needed: for the head, and the port's own for gateways."""
    text = json.dumps(render(values, PIPELINE))
    assert "postgresql" not in text
    cluster = one(values, "RayCluster")
    mounts = [
        [volume["secret"]["secretName"] for volume in pod["volumes"] if "secret" in volume]
        for pod in pod_security.pods(cluster)
    ]
    port = [values.gateway_tls_secret] if values.gateway_tls_secret else []
    assert mounts == [["divisions"], port, [], []]
    assert "Secret" not in {each["kind"] for each in render(values, PIPELINE)}


def test_pods_have_no_credentials_for_the_kubernetes_api_but_the_nightly_one():
    pods = [(each["kind"], pod) for each in render(PLAIN, PIPELINE) for pod in pod_security.pods(each)]
    assert [kind for kind, pod in pods if pod["automountServiceAccountToken"]] == ["CronJob"]
    rules = one(PLAIN, "Role", "divisions-nightly")["rules"]
    assert rules == [{"apiGroups": ["ray.io"], "resources": ["rayjobs"], "verbs": ["create", "get", "list", "delete"]}]


def test_gateways_alone_have_the_file_of_issuers_and_what_shows_them_the_api_servers_keys():
    assert environment(FULL)["DIVISIONS_OIDC_FILE"] == "/etc/divisions/oidc/oidc.yaml"
    assert "DIVISIONS_OIDC_FILE" not in environment(PLAIN)
    by_group = {name: group["template"]["spec"] for name, group in groups(FULL).items()}
    have = [name for name, spec in by_group.items() if "oidc" in {each["name"] for each in spec["volumes"]}]
    assert have == ["gateway"]
    volumes = {each["name"]: each for each in by_group["gateway"]["volumes"]}
    files = [source for each in volumes["oidc"]["projected"]["sources"] for source in each.values()]
    assert [each.get("name") for each in files] == ["issuers", "kube-root-ca.crt", None]
    assert [each.get("path") or each["items"][0]["path"] for each in files] == ["oidc.yaml", "ca.crt", "token"]
    mounts = {each["name"]: each["mountPath"] for each in by_group["gateway"]["containers"][0]["volumeMounts"]}
    assert (mounts["oidc"], mounts["tls"]) == ("/etc/divisions/oidc", "/etc/divisions/tls")


def test_the_deployers_role_has_every_kind_that_is_applied_and_no_secret():
    allowed = {kind for _, kinds, _ in DEPLOYER_RULES for kind in kinds}
    applied = {each["kind"].lower() for values in ALL.values() for each in render(values, PIPELINE)}
    plural = {
        kind[:-1] + "ies" if kind.endswith("y") else f"{kind}es" if kind.endswith("ss") else f"{kind}s"
        for kind in applied
    }
    assert plural <= allowed
    assert "secrets" not in allowed


def test_the_service_reaches_gateway_pods_only(values):
    selector = one(values, "Service", "divisions-gateway")["spec"]["selector"]
    assert selector == {"ray.io/cluster": "divisions", "ray.io/group": "gateway"}
    assert one(values, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"] == selector
    gateway = groups(values)["gateway"]
    assert gateway["resources"] == {"divisions_gateway": str(values.gateways_per_pod)}
    container = gateway["template"]["spec"]["containers"][0]
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert 8000 in {port["containerPort"] for port in container["ports"]}


def test_policies_open_ports_for_the_namespaces_that_need_them(values):
    policies = {
        each["metadata"]["name"]: each["spec"] for each in render(values, PIPELINE) if each["kind"] == "NetworkPolicy"
    }
    inside = policies["divisions-cluster"]
    assert inside["policyTypes"] == ["Ingress", "Egress"]
    assert inside["ingress"] == [{"from": [{"podSelector": {"matchLabels": {"ray.io/cluster": "divisions"}}}]}]
    calls, scrapes = policies["divisions-gateway"]["ingress"]
    wanted = {"matchLabels": {"kubernetes.io/metadata.name": "ingress-nginx"}} if values.callers_namespace else {}
    assert calls == {"from": [{"namespaceSelector": wanted}], "ports": [{"port": 8000, "protocol": "TCP"}]}
    assert [port["port"] for port in scrapes["ports"]] == list(range(9101, 9101 + values.gateways_per_pod))
    # Ray's dashboard takes jobs, which is code: only the operator reaches it from outside.
    reach_head = [name for name, spec in policies.items() if "8265" in json.dumps(spec["ingress"])]
    assert reach_head == ["divisions-operator"]


def test_each_gateway_of_a_pod_is_scraped_by_itself():
    service, monitor = one(FULL, "Service", "divisions-metrics"), one(FULL, "ServiceMonitor")
    ports = [port["name"] for port in service["spec"]["ports"]]
    assert ports == [each["port"] for each in monitor["spec"]["endpoints"]] == ["metrics-0", "metrics-1"]
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert (
        not monitor["spec"]["selector"]["matchLabels"].items()
        <= one(FULL, "Service", "divisions-gateway")["metadata"]["labels"].items()
    )


def test_with_a_certificate_everything_that_asks_a_gateway_asks_by_tls():
    pod = groups(FULL)["gateway"]["template"]["spec"]
    (container,) = pod["containers"]
    mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert volumes["tls"]["secret"]["secretName"] == "gateway-tls"
    assert not volumes["tls"]["secret"]["defaultMode"] & 0o007  # gateways refuse a key that others can read
    assert mounts["tls"]["readOnly"]
    told = load_settings(environment(FULL))
    assert {told.tls_cert, told.tls_key} == {f"{mounts['tls']['mountPath']}/{name}" for name in ("tls.crt", "tls.key")}
    assert container["readinessProbe"]["httpGet"]["scheme"] == "HTTPS"
    (port,) = one(FULL, "Service", "divisions-gateway")["spec"]["ports"]
    assert (port["name"], port["appProtocol"]) == ("https", "https")
    annotations = one(FULL, "Ingress")["metadata"]["annotations"]
    assert annotations == {"nginx.ingress.kubernetes.io/backend-protocol": "HTTPS"}
    assert {each["scheme"] for each in one(FULL, "ServiceMonitor")["spec"]["endpoints"]} == {"https"}
    assert "tls" not in {volume["name"] for volume in groups(FULL)[FULL.model]["template"]["spec"]["volumes"]}


def test_without_one_nothing_has_tls():
    (container,) = groups(PLAIN)["gateway"]["template"]["spec"]["containers"]
    assert container["readinessProbe"]["httpGet"]["scheme"] == "HTTP"
    assert "scheme" not in one(PLAIN, "ServiceMonitor")["spec"]["endpoints"][0]
    assert not load_settings(environment(PLAIN)).tls_cert


def test_grafana_finds_the_dashboards_by_their_label():
    found = one(FULL, "ConfigMap", "divisions-dashboards")
    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert {name: json.loads(text)["title"] for name, text in found["data"].items()} == {
        path.name: json.loads(path.read_text())["title"] for path in FOLDER.glob("*.json")
    }
    assert len(found["data"]) == 3


def test_the_job_that_attaches_has_another_name_when_it_is_told_something_else():
    def name(values):
        return one(values, "RayJob")["metadata"]["name"]

    assert name(PLAIN) == name(dataclasses.replace(PLAIN, replicas=5))
    assert len({name(values) for values in ALL.values()}) == len(ALL)


def test_other_settings_need_no_new_pods():
    """They come with the job: pods that are there would not get them."""
    other = dataclasses.replace(PLAIN, artifacts="s3://elsewhere", host="churn.example")
    assert one(other, "RayCluster") == one(PLAIN, "RayCluster")
    assert "s3://elsewhere" in one(other, "RayJob")["spec"]["runtimeEnvYAML"]


def test_the_nightly_run_reads_the_pipeline_file_and_is_one_a_day():
    assert one(PLAIN, "ConfigMap", "divisions-pipeline")["data"] == {"pipeline.yaml": PIPELINE}
    spec = one(PLAIN, "CronJob")["spec"]
    assert (spec["concurrencyPolicy"], spec["timeZone"]) == ("Forbid", "Etc/UTC")
    assert spec["jobTemplate"]["spec"]["backoffLimit"] == 0
    first, second = (
        training_job("ns", "divisions", day, {})["metadata"]["name"] for day in ("2025-01-14", "2025-01-15")
    )
    assert (first, second) == ("divisions-250114", "divisions-250115")


def test_no_two_objects_are_the_same(values):
    keys = [key_of(each) for each in render(values, PIPELINE)]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"name": "Divisions"}, "name 'Divisions' is malformed"),
        ({"model": "churn-v3.2"}, "model 'churn-v3.2' is malformed"),
        ({"name": "a" * 41}, "name is longer than 40"),
        ({"head_memory": "8 GB"}, "head_memory '8 GB' is malformed"),
        ({"entry": Entry.INGRESS}, "needs a host"),
        ({"entry": Entry.GATEWAY_API, "host": "h"}, "needs entry_class"),
        ({"canary_gpu_share": 0.0}, "canary_gpu_share is 0"),
        ({"canary_replicas": 0}, "canary_replicas at least 1"),
        ({"replicas": 11}, "max_replicas"),
    ],
)
def test_values_that_kubernetes_would_refuse_are_told_at_once(wrong, message):
    with pytest.raises(UsageError, match=message):
        Values(**wrong)
