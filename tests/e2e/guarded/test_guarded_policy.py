"""The owner's rules in Rego on a real cluster: refused, complied with, damaged; the engine killed; the way back."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import ssl

import httpx
import psutil
import pytest

from divisions.errors import DivisionsError, PolicyRefusedError
from tests.e2e.controllers import controller_pid
from tests.e2e.guarded.conftest import LONGEST_S, Guarded, until

pytestmark = pytest.mark.e2e

UNCLEARED = "custom.clearance: version {} is not cleared; ask the risk team to clear it"
BROKEN = "package divisions.custom.broken\n\nimport rego.v1\n\nallow if {\n"


@pytest.fixture
def canary(guarded):
    """A version at its first step, which nobody has cleared. In the end, it is gone."""
    version = guarded.start()
    yield version
    (guarded.policy / "broken.rego").unlink(missing_ok=True)
    with guarded.client() as client:
        if guarded.rollout().phase not in {"PROMOTED", "ROLLED_BACK"}:
            client.rollout("churn").abort()
        until(lambda: guarded.rollout().phase in {"PROMOTED", "ROLLED_BACK"}, "the rollout did not end")
        until(lambda: fault(guarded) == "", "the rules were not mended")
    guarded.clear("3.1")


def fault(cluster: Guarded) -> str | None:
    """What is wrong with the rules; None while the controller is away."""
    with contextlib.suppress(DivisionsError), cluster.client() as client:
        return client.status().policy_fault
    return None


def promote(cluster: Guarded) -> str:
    """Why a promotion is refused; empty if it is not."""
    try:
        with cluster.client() as client:
            client.rollout("churn").promote()
    except DivisionsError as error:
        return error.message
    return ""


def decisions(cluster: Guarded) -> list[dict[str, object]]:
    lines = (cluster.home.path / "decisions.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def engine_pids(controller: int) -> list[int]:
    found = psutil.Process(controller).children(recursive=True)
    return [each.pid for each in found if "divisions.policy.rego_worker" in " ".join(each.cmdline())]


def test_a_rule_of_the_owner_holds_a_promotion_whatever_becomes_of_rules_and_engine(guarded, canary):
    rule = UNCLEARED.format(canary)
    until(lambda: [str(reason) for reason in guarded.rollout().gate.reasons] == [rule], "the rule was never told")
    _refused_everywhere(guarded, rule)

    (guarded.policy / "broken.rego").write_text(BROKEN)
    until(lambda: "broken.rego:5: " in (fault(guarded) or ""), "the broken rules were not seen")
    told = guarded.home.run("status").stdout
    assert re.search(r"^Policy: the rules before still decide: broken\.rego:5: ", told, re.MULTILINE), told
    assert rule in promote(guarded)

    (engine,) = engine_pids(controller_pid(guarded.home.path))
    os.kill(engine, signal.SIGKILL)
    while rule not in (refused := promote(guarded)):  # it answers again
        assert "the policy refuses this: engine: " in refused
    assert engine not in engine_pids(controller_pid(guarded.home.path))

    (guarded.policy / "broken.rego").unlink()
    guarded.clear("3.1", canary)
    until(lambda: not promote(guarded), "what complies was never promoted")
    guarded.wait_for(canary, "PROMOTED")
    found = [each for each in decisions(guarded) if each["subject"] == f"churn {canary}"]
    assert {each["allow"] for each in found} == {True, False}
    assert all(re.fullmatch("[0-9a-f]{64}", each["policy_digest"]) for each in found)
    assert {reason["rule"] for each in found for reason in each["reasons"]} >= {"custom.clearance"}
    assert any((each["kind"], each["subject"]) == ("rbac", "promote churn") for each in decisions(guarded))
    _back(guarded)


def _refused_everywhere(cluster: Guarded, rule: str) -> None:
    said = f"the policy does not let it be promoted: {rule}"
    command = cluster.home.run("rollout", "promote", "churn")
    assert (command.returncode, command.stderr) == (1, f"error: {said}\n")
    with cluster.client() as client, pytest.raises(PolicyRefusedError, match=re.escape(rule)):
        client.rollout("churn").promote()
    trusted = ssl.create_default_context(cafile=str(cluster.authority.path))
    headers = {"authorization": f"Bearer {cluster.token}"}
    with httpx.Client(base_url=cluster.named_url, verify=trusted, headers=headers, timeout=LONGEST_S) as page:
        answer = page.post("/api/v2/rollouts/churn/promote")
        assert (answer.status_code, answer.json()["code"]) == (403, "PolicyRefusedError")
        assert answer.json()["detail"] == said
        (reason,) = page.get("/api/v2/rollouts/churn").json()["gate"]["reasons"]
        assert f"{reason['rule']}: {reason['message']}; {reason['remedy']}" == rule


def _back(cluster: Guarded) -> None:
    """To the version before, while the controller was started anew and has no rules that can be used."""
    (cluster.policy / "broken.rego").write_text(BROKEN)
    os.kill(controller_pid(cluster.home.path), signal.SIGKILL)
    until(lambda: "broken.rego:5: " in (fault(cluster) or ""), "the controller did not come back")
    assert fault(cluster).startswith("what it guards is refused: ")
    with cluster.client() as client:
        with pytest.raises(DivisionsError, match=r"the policy refuses this: engine: .*broken\.rego:5: "):
            client.rollout("churn").scale(1, version="3.1")
        assert decisions(cluster)[-1]["reasons"][0]["rule"] == "engine"
        back = cluster.home.run("rollback", "churn", "--to", "3.1", "--reason", "the engine is away")
        assert back.returncode == 0, back.stderr
        until(lambda: cluster.rollout().stable_version == "3.1", "the way back was barred")
        until(lambda: cluster.rollout().phase == "PROMOTED", "the way back did not end")
    listed = cluster.home.run("audit", "list", "--output", "json").stdout
    assert re.search(r'"rollback"', listed), listed
    assert "the engine is away" in listed
    assert cluster.home.run("audit", "verify").returncode == 0
