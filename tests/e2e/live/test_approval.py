"""A real rollout that waits at its last step until somebody else approves it."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from benchmarks.canaries.live_result import AS_STABLE
from benchmarks.canaries.live_rollouts import PIPELINE, LiveCluster
from divisions.access.roles import Role
from divisions.errors import AccessDeniedError, PolicyRefusedError
from divisions.sdk.approvals import Approvals
from divisions.sdk.client import Client
from divisions.sdk.tokens import Tokens
from divisions.status import RolloutStatus
from tests.builders import SHORT_ANALYSIS

pytestmark = pytest.mark.e2e

LONGEST_S = 400.0
POLICY = """
policy:
  environment: production
  require: [metrics, lineage]
"""


@pytest.fixture(scope="module")
def cluster(live_cluster) -> Iterator[LiveCluster]:
    load = live_cluster.start_load(120.0, 2, 1_200.0)
    try:
        yield live_cluster
    finally:
        load.close()


def until(client: Client, version: str, is_there) -> RolloutStatus:
    ends_s = time.monotonic() + LONGEST_S
    while True:
        status = client.rollout("churn").status()
        if status.canary_version == version and is_there(status):
            return status
        assert status.phase not in {"ROLLED_BACK", "ROLLING_BACK", "HOLD"}, status.message
        assert time.monotonic() < ends_s, status.message
        time.sleep(0.5)


def waits_for_approval(status: RolloutStatus) -> bool:
    """Whether it lacks nothing else. Metrics and lineage are known once the controller has read the registry again."""
    gate = status.gate
    return gate is not None and gate.is_waiting and [reason.rule for reason in gate.reasons] == ["approvals"]


def test_a_rollout_waits_for_somebody_else_and_is_promoted_then(cluster, tmp_path):
    pipeline = tmp_path / "policy.yaml"
    pipeline.write_text(PIPELINE.read_text().rstrip() + SHORT_ANALYSIS + POLICY)
    version = cluster.register()
    cluster.start(version, (AS_STABLE,), pipeline)
    with cluster.product.client() as owner:
        waiting = until(owner, version, waits_for_approval)
        assert (waiting.phase, waiting.actual_weight_bp < 10_000) == ("BAKE", True)
        assert f"`divisions approve churn@{version}`" in waiting.message
        with pytest.raises(PolicyRefusedError, match="no-self-approval: admin has started"):
            Approvals(owner).approve("churn", version)
        with pytest.raises(PolicyRefusedError, match="approvals: 0 of 1"):
            owner.rollout("churn").promote()
        tokens = {
            role: Tokens(owner).create(f"{role.value}-{version}", role).token for role in (Role.DEPLOYER, Role.APPROVER)
        }
        with Client(cluster.product.url, token=tokens[Role.DEPLOYER]) as deployer:
            with pytest.raises(AccessDeniedError, match="approver"):
                Approvals(deployer).approve("churn", version)
            assert deployer.rollout("churn").status().phase == "BAKE"
        with Client(cluster.product.url, token=tokens[Role.APPROVER]) as approver:
            given = Approvals(approver).approve("churn", version, comment="looked at it")
            assert given in Approvals(approver).list()
        promoted = until(owner, version, lambda status: status.phase == "PROMOTED")
        assert [each.name for each in promoted.gate.approvals] == [f"approver-{version}"]
        assert any(f"approved by approver-{version}: looked at it" in entry.message for entry in promoted.history)
    audited = (cluster.product.home / "audit.jsonl").read_text()
    assert f'"subject":"churn@{version}","outcome":"done"' in audited
    assert "no-self-approval" in audited
