"""A cluster whose policy an Open Policy Agent server decides, and which loses that server. In minutes: see `--long`."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from divisions.errors import DivisionsError, PolicyRefusedError
from divisions.policy.bundle import load_bundle
from divisions.policy.rego import DECISION
from divisions.sdk.client import Client
from tests.builders import SHORT_ANALYSIS
from tests.divisions.policy.opa_library import engine_of, reply, server
from tests.e2e.guarded.conftest import CLEARANCE, until
from tests.e2e.homes import PIPELINE, Home

pytestmark = [pytest.mark.e2e, pytest.mark.opa, pytest.mark.long]


class Opa:
    """Open Policy Agent's own engine with the owner's rules, behind HTTP. It can be told to answer 500."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self.is_up = True
        (folder / "clearance.rego").write_text(CLEARANCE)
        self.clear("3.1")

    def clear(self, *versions: str) -> None:
        (self._folder / "data.yaml").write_text(json.dumps({"cleared": versions}))
        self._evaluate = engine_of(load_bundle(self._folder))

    def answer(self, handler, document) -> None:
        with self._lock:
            result = self._evaluate(DECISION, document)
        reply(handler, json.dumps({"result": result}).encode(), 200 if self.is_up else 500)


@pytest.fixture
def opa(tmp_path) -> Opa:
    folder = tmp_path / "rules"
    folder.mkdir()
    return Opa(folder)


@pytest.fixture
def home(tmp_path, opa) -> Iterator[Home]:
    home = Home(tmp_path / "home")
    home.take_over_old()
    with server(opa.answer) as url:
        home.environment["DIVISIONS_OPA_URL"] = url
        try:
            started = home.run("up")
            assert started.returncode == 0, started.stderr
            yield home
        finally:
            home.run("down")


def test_an_open_policy_agent_server_decides_and_nothing_passes_without_it(home, opa, tmp_path):
    (tmp_path / "pipeline.yaml").write_text(PIPELINE.rstrip() + SHORT_ANALYSIS)
    registered = json.loads(home.run("models", "register", "churn-predictor", "--from", "3.1", "-o", "json").stdout)
    version = registered["version"]
    pipeline = ("--pipeline", str(tmp_path / "pipeline.yaml"))
    opa.is_up = False
    barred = home.run("rollout", "start", "churn-predictor", "--version", version, *pipeline)
    assert barred.returncode == 1
    assert "the policy refuses this: engine: the policy server answers 500" in barred.stderr
    opa.is_up = True
    until(lambda: _started(home, version, pipeline), "the rollout was never started")
    with Client(home.url, home=home.path, timeout_s=60.0) as client:
        rollout = client.rollout("churn")
        until(lambda: rollout.status().phase == "STEP", "it never reached its first step")
        with pytest.raises(PolicyRefusedError, match=f"custom.clearance: version {version} is not cleared"):
            until(lambda: _is_asked(rollout), "it was never asked")
        opa.is_up = False
        with pytest.raises(DivisionsError, match="the policy server answers 500"):
            rollout.promote()
        opa.is_up = True
        opa.clear("3.1", version)
        until(lambda: _is_promoted(rollout), "what complies was never promoted")
        until(lambda: rollout.status().phase == "PROMOTED", "it was not promoted")
        opa.is_up = False
        rollout.rollback("3.1")
        until(lambda: rollout.status().stable_version == "3.1", "the way back was barred")
    lines = [json.loads(line) for line in (home.path / "decisions.jsonl").read_text().splitlines()]
    assert {line["allow"] for line in lines if line["subject"] == f"churn {version}"} == {True, False}
    assert all(line["policy_digest"] for line in lines if line["allow"])


def _started(home: Home, version: str, pipeline) -> bool:
    return home.run("rollout", "start", "churn-predictor", "--version", version, *pipeline).returncode == 0


def _is_asked(rollout) -> bool:
    """Raises: PolicyRefusedError: a rule of the owner refuses."""
    try:
        rollout.promote()
    except PolicyRefusedError as error:
        if "custom.clearance" in error.message:
            raise
    except DivisionsError:
        return False  # The server had no time: a busy machine.
    return False


def _is_promoted(rollout) -> bool:
    try:
        rollout.promote()
    except DivisionsError:
        return False
    return True
