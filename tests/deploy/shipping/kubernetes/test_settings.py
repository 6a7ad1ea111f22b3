"""Targets of kind kubernetes in the file of targets."""

from dataclasses import fields
from pathlib import Path

import pytest

from deploy.kubernetes.reading import NOT_READ
from deploy.kubernetes.values import Entry, Values
from deploy.shipping.kubernetes.settings import KubernetesSettings
from deploy.shipping.target_file import parse_targets
from divisions.errors import PipelineError

PAGE = (Path(__file__).parents[4] / "docs/kubernetes.md").read_text()


def test_a_cluster_is_read_with_defaults_for_what_is_left_out():
    content = """
targets:
  staging:
    kind: kubernetes
    context: staging
    control_url: https://churn.example/
    ready_s: 60
    values:
      namespace: ml-staging
      cpus: 2
      gateway_pods: 3
      canary_gpu_share: 0.25
      entry: ingress
      host: churn.example
      schedule_paused: true
      egress_ports: 443, 5432
"""
    found = parse_targets(content)["staging"].settings
    values = Values(
        namespace="ml-staging",
        cpus="2",
        gateway_pods=3,
        canary_gpu_share=0.25,
        entry=Entry.INGRESS,
        host="churn.example",
        schedule_paused=True,
        egress_ports=(443, 5432),
    )
    assert found == KubernetesSettings(values, "staging", "https://churn.example", 60)


def test_a_target_without_values_has_the_defaults():
    assert parse_targets("targets:\n  a:\n    kind: kubernetes")["a"].settings == KubernetesSettings()


@pytest.mark.parametrize(
    ("line", "place", "message"),
    [
        ("namspace: a", (5, 7), "did you mean 'namespace'"),
        ("namespace: A_b", (5, 18), "malformed"),
        ("replicas: many", (5, 17), "whole number"),
        ("entry: nodeport", (5, 14), "gateway-api"),
        ("entry: ingress", (5, 14), "needs a host"),
        ("egress_ports: 443, http", (5, 21), "ports, separated by commas"),
        ("head_memory: 8 GB", (5, 20), "8Gi"),
        ("artifacts: s3://a", (5, 7), "unknown key"),
    ],
)
def test_a_mistake_is_told_with_its_place(line, place, message):
    with pytest.raises(PipelineError) as caught:
        parse_targets(f"targets:\n  a:\n    kind: kubernetes\n    values:\n      {line}\n", "t.yaml")
    lines = str(caught.value).splitlines()
    assert any(message in each and each.startswith(f"t.yaml:{place[0]}:{place[1]}:") for each in lines), lines


def test_every_value_is_in_the_documents_table_with_its_default():
    for each in fields(Values):
        if each.name in NOT_READ:
            continue
        default = ", ".join(map(str, each.default)) if isinstance(each.default, tuple) else str(each.default)
        told = f"`{default.lower() if isinstance(each.default, bool) else default}`" if default else "empty"
        assert f"| `{each.name}` | {told} |" in PAGE, (each.name, told)
