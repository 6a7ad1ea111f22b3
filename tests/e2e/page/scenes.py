"""The documents of a cluster in each state that the page must show: ``status``, and the sections of ``house``."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import msgspec

from divisions.drift import DriftAlert, DriftSummary
from divisions.inventory import Inventory, PipelineState
from divisions.scaling import VersionScale
from divisions.status import ControllerStatus, HistoryEntry, ReplicaStatus
from tests.e2e.page import house_documents as documents
from tests.e2e.page.stage import EVIDENCE, EXPLANATION, REPLICAS, rollout


@dataclass
class Scene:
    """What a gateway's stream tells."""

    status: dict[str, Any]
    house: dict[str, Any]
    index: dict[str, Any] = field(default_factory=dict)
    away: str = ""


def scene(
    *rollouts: Any, replicas: tuple[ReplicaStatus, ...] = REPLICAS[:1], house: dict | None = None, **others: Any
) -> Scene:
    now_s = time.time()
    status = msgspec.to_builtins(ControllerStatus(9, replicas, rollouts, **others))
    status["gateway"] = {"id": "g-1", "epoch": 9, "version": "1.0.0", "now_s": now_s, "is_store_reachable": True}
    versions = {"3.1": {"weight_bp": 10_000, "replicas": 2}}
    endpoints = {
        each.endpoint: {"predict": f"/api/v2/predict/{each.endpoint}", "versions": versions} for each in rollouts
    }
    return Scene(status, house or {}, {"divisions": "1.0.0", "endpoints": endpoints, "public": []})


def _history_of(now_s: float, *phases: tuple[str, int, str]) -> tuple[HistoryEntry, ...]:
    return tuple(HistoryEntry(now_s - 200 + 20 * number, *each) for number, each in enumerate(phases))


def _promoted(now_s: float, endpoint: str = "churn") -> Any:
    entries = _history_of(
        now_s,
        ("PENDING", 0, "created"),
        ("STEP", 2_000, "step 1/3"),
        ("STEP", 5_000, "step 2/3"),
        ("BAKE", 10_000, "step 3/3"),
        ("PROMOTED", 10_000, "3.1 serves all traffic"),
    )
    return rollout(
        endpoint=endpoint, phase="PROMOTED", stable_version="3.1", canary_version="3.1", actual_weight_bp=10_000,
        set_weight_bp=10_000, step_index=2, message="3.1 serves all traffic", phase_since_s=now_s - 90_000,
        started_at_s=now_s - 90_600, history=entries,
    )  # fmt: skip


def empty() -> Scene:
    return scene(replicas=(), house=documents.empty_house(time.time()))


def one_model() -> Scene:
    now_s = time.time()
    scales = (VersionScale("churn-predictor-v3.1", "churn", "3.1", "stable", 2, 2),)
    return scene(_promoted(now_s), house=documents.whole_house(now_s), scales=scales)


def running() -> Scene:
    now_s = time.time()
    entries = _history_of(now_s, ("PENDING", 0, "created"), ("STEP", 2_000, "step 1/3: 20 % to 3.2"))
    it = rollout(
        step_index=0,
        set_weight_bp=2_000,
        actual_weight_bp=2_000,
        history=entries,
        message="1,200 of 3,000 requests judged",
    )
    return scene(it, replicas=REPLICAS, house=documents.whole_house(now_s, canary=True))


def rolled_back() -> Scene:
    now_s = time.time()
    entries = _history_of(
        now_s, ("PENDING", 0, "created"), ("STEP", 2_000, "step 1/3: 20 % to 3.2"), ("ROLLED_BACK", 0, EXPLANATION.text)
    )
    it = rollout(
        phase="ROLLED_BACK", step_index=0, set_weight_bp=0, actual_weight_bp=0, history=entries,
        explanation=EXPLANATION, evidence=msgspec.structs.replace(EVIDENCE, latency_log_e=4.71), message="rolled back",
        rollback_reason=EXPLANATION.text,
    )  # fmt: skip
    return scene(it, house=documents.whole_house(now_s, canary=True, phase="ROLLED_BACK", is_slow=True))


def controller_away() -> Scene:
    it = running()
    it.away = "the controller is away; it starts again within seconds"
    return it


def many_models() -> Scene:
    """Fifty endpoints with three versions each; two of them need somebody."""
    now_s = time.time()
    names = [f"model-{number:02d}" for number in range(50)]
    rollouts = [_promoted(now_s, name) for name in names]
    rollouts[17] = rollout(
        endpoint=names[17],
        phase="HOLD",
        explanation=msgspec.structs.replace(EXPLANATION, guard="split", text="the split is off"),
    )
    rollouts[31] = rollout(endpoint=names[31])
    house = documents.whole_house(now_s)
    house["registry"]["versions"] = [
        documents.version(f"{major}.0", stage, now_s - 900 * number, {"auc": 0.9}, model=f"{name}-predictor")
        for number, name in enumerate(names)
        for major, stage in ((3, "Production"), (2, "Archived"), (1, "Archived"))
    ]
    house["registry"] |= {"models": 50, "total": 400, "left_out": 250}
    house["pipelines"]["pipelines"] = [
        documents.pipeline(now_s) | {"pipeline": name, "path": f"/pipelines/{name}.yaml"} for name in names
    ]
    house["live"]["versions"] = [
        documents.traffic("3.0", "stable", 10_000, 8.0, 0, 2.0, 7.0) | {"endpoint": name} for name in names
    ]
    house["drift"]["endpoints"] = [documents.drift(now_s) | {"endpoint": name} for name in names]
    replicas = tuple(
        msgspec.structs.replace(REPLICAS[0], name=f"{name}-v3.0-{number}") for name in names for number in (1, 2)
    )
    scales = tuple(VersionScale(f"{name}-v3.0", name, "3.0", "stable", 2, 2) for name in names)
    return scene(*rollouts, replicas=replicas, house=house, scales=scales)


def errors() -> Scene:
    """All that can go wrong beside a rollout."""
    now_s = time.time()
    alert = DriftAlert("minutes", "1h", "training", 0.31, 0.2, now_s - 900)
    drift = (DriftSummary("churn", "3.1", "watching", 1, (alert,), "minutes", 0.31),)
    inventory = Inventory(pipelines=(PipelineState("customer-churn-v3", True, False, 0.0, True),))
    house = documents.whole_house(now_s)
    house["sources"][0] |= {"state": "away", "reason": "the tracking server does not answer"}
    house["live"] |= {
        "models": None,
        "versions_total": None,
        "pending_versions": None,
        "drift_alerts": 1,
        "late_pipelines": 1,
        "errors": 1_204,
    }
    house["stages"]["stages"][2] |= {"state": "failed", "detail": "worker 1 of 2 died: out of memory"}
    house["stages"]["stages"][5] |= {"state": "alert", "detail": "minutes has drifted"}
    house["pipelines"]["pipelines"][0]["last"] |= {"outcome": "failed", "message": "worker 1 of 2 died: out of memory"}
    house["drift"]["endpoints"][0] |= {"alerts": [msgspec.to_builtins(alert)], "alerts_total": 1}
    house["runs"]["runs"] = house["runs"]["runs"][::-1]
    failed = house["deployments"]["deployments"][0]
    failed |= {"ending": "", "is_under_way": False, "steps": failed["steps"][:3]}
    failed["steps"][2] |= {"ended_s": None, "error": "the registry refused the push: 403 denied"}
    replicas = (REPLICAS[0], msgspec.structs.replace(REPLICAS[1], status="Failing", age_s=400.0))
    fault = "the journal cannot be written: database or disk is full"
    it = scene(_promoted(now_s), replicas=replicas, house=house, drift=drift, inventory=inventory, journal_fault=fault)
    it.status["gateway"]["is_store_reachable"] = False
    return it


SCENES = {
    each.__name__: each for each in (empty, one_model, running, rolled_back, controller_away, many_models, errors)
}


def hostile(document: Any, text: str) -> Any:
    """The document with every text that others choose replaced; states and phases stay, or it would be another."""
    kept = {
        "phase",
        "state",
        "stage",
        "status",
        "columns",
        "role",
        "guard",
        "url",
        "id",
        "outcome",
        "validation",
        "operator",
    }
    match document:
        case dict():
            return {key: value if key in kept else hostile(value, text) for key, value in document.items()}
        case list() | tuple():
            return [hostile(each, text) for each in document]
        case str() if document:
            return text
    return document
