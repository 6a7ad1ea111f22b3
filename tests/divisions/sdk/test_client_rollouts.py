"""The rollouts of the client against a real HTTP server on a free port."""

import msgspec
import pytest

from divisions import errors
from divisions.control import RolloutSpec
from tests.builders import rollout_status
from tests.divisions.sdk.fake_gateway import SPEC, asked


def test_rollout_calls_carry_the_token(client, gateway):
    status = rollout_status()
    gateway.will_answer({"rollouts": [status]})
    assert client.rollouts() == (status,)
    gateway.will_answer(status)
    assert client.rollout("churn").status() == status
    assert asked(gateway)[:2] == ("GET", "/api/v2/rollouts/churn")
    for action in ("pause", "resume", "promote", "abort"):
        gateway.will_answer(status, 202)
        assert getattr(client.rollout("churn"), action)(generation=4) == status
        method, path, _, headers = asked(gateway)
        assert (method, path) == ("POST", f"/api/v2/rollouts/churn/{action}")
        assert headers["if-match"] == "4"
        assert headers["authorization"] == "Bearer secret"
    gateway.will_answer(status)
    client.rollout("churn").rollback("3.1")
    assert asked(gateway)[1:3] == ("/api/v2/rollouts/churn/rollback", {"to": "3.1"})
    assert "if-match" not in asked(gateway)[3]
    gateway.will_answer(status)
    assert client.rollout("churn").scale(4, version="3.2", force=True, generation=4) == status
    body = {"replicas": 4, "version": "3.2", "force": True}
    assert asked(gateway)[:3] == ("POST", "/api/v2/rollouts/churn/scale", body)


def test_a_rollout_is_started_from_its_spec(client, gateway):
    gateway.will_answer(rollout_status(), 202)
    client.start_rollout(SPEC, force=True)
    assert asked(gateway)[1] == "/api/v2/rollouts?force=1"
    assert msgspec.json.decode(gateway.requests[-1][3], type=RolloutSpec) == SPEC


def test_status_has_epoch_replicas_and_rollouts(client, gateway):
    gateway.will_answer({"gateway": {"pid": 1}, "epoch": 7, "replicas": [], "rollouts": [rollout_status()]})
    status = client.status()
    assert (status.epoch, status.gateway, status.rollouts) == (7, {"pid": 1}, (rollout_status(),))


def test_watch_yields_changes_until_the_end_and_survives_a_restart_of_the_controller(client, gateway):
    for phase, weight_bp in (("STEP", 2_000), ("STEP", 2_000), ("BAKE", 9_700)):
        gateway.will_answer(rollout_status(phase=phase, actual_weight_bp=weight_bp))
    gateway.will_refuse(503)
    gateway.will_answer(rollout_status(phase="PROMOTED", actual_weight_bp=10_000))
    phases = [status.phase for status in client.rollout("churn").watch(poll_s=0)]
    assert phases == ["STEP", "BAKE", "PROMOTED"]
    assert gateway.answers == []


def test_watch_gives_up_when_patience_ends(client, gateway):
    gateway.will_answer(rollout_status())
    for _ in range(3):
        gateway.will_refuse(503)
    with pytest.raises(errors.NotRunningError):
        list(client.rollout("churn").watch(poll_s=0, patience=2))
    assert gateway.answers == []


def test_watch_fails_at_once_when_there_is_nothing_to_watch(client, gateway):
    gateway.will_refuse(404, "no rollout")
    with pytest.raises(errors.UnknownVersionError):
        list(client.rollout("churn").watch(poll_s=0))
