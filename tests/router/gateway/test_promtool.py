"""`promtool check metrics` finds nothing wrong with what a gateway answers: names, units, types and texts."""

from __future__ import annotations

import shutil
import subprocess

import msgspec
import pytest

from divisions.inventory import (
    FeatureFreshness,
    GpuNode,
    Inventory,
    LiveAuc,
    PipelineState,
    RunCount,
    VersionCount,
)
from divisions.status import ControllerStatus, RollbackCount
from tests.router.gateway_world import minutes_score, world

INVENTORY = Inventory(
    versions=(VersionCount('a "model"\\', "pending", 2), VersionCount("b", "production", 1)),
    runs=(RunCount("p", "FINISHED", 4),),
    pipelines=(PipelineState("p", is_active=True, is_running=False, lag_s=3.5, has_failed=True),),
    features=(FeatureFreshness("churn", 1.7e9),),
    plans=1,
    plan_bytes=1 << 20,
    gpus=(GpuNode("n", 2.0, 0.5),),
    unreachable=("artifacts",),
    live_aucs=(LiveAuc("churn", "3.1", 800, 0.8, 0.78, 0.82, 0.02, 0.85, is_below_gate=True),),
)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed; see `make servers`")
def test_promtool_finds_nothing_wrong(run):
    async def scenario():
        async with world() as it:
            await it.route([await it.replica("3.1", minutes_score)])
            status = ControllerStatus(1, rollbacks=(RollbackCount("churn", "latency", 2),), inventory=INVENTORY)
            it.link.status_json = msgspec.json.encode(status)
            (reply,) = await it.raw(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
            return reply.body

    body = run(scenario())
    assert b'divisions_live_auc_below_gate{endpoint="churn",version="3.1"} 1.0' in body
    assert b'divisions_live_auc{bound="upper",endpoint="churn",version="3.1"} 0.82' in body
    assert b'divisions_dependency_reachable{dependency="artifacts"} 0.0' in body
    assert b'divisions_registry_versions{model="a \\"model\\"\\\\",state="pending"} 2.0' in body
    found = subprocess.run(["promtool", "check", "metrics"], input=body, capture_output=True, check=False)
    assert (found.returncode, found.stdout, found.stderr) == (0, b"", b"")
