"""The sections of the house, as a cluster with one endpoint tells them, and as one does that has just started."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

PIPELINE = (Path(__file__).parents[3] / ".divisions" / "pipeline" / "ml_training.yaml").read_text()
RUN = "8c1f0e5d" * 4
OLD_RUN = "77aa0b1c" * 4
ABOUT: dict[str, Any] = {
    "release": "1.0.0",
    "controller_started_at_s": 1_764_277_000.0,
    "controller_restarts": 0,
    "gateways": ["g-1"],
    "nodes": 1,
    "links": [],
    "public": [],
}
SOURCES = ("registry", "runs", "artifacts", "schedule", "deployments", "journal")
STAGES = (
    ("ingestion", "Raw Data Ingestion"),
    ("features", "Feature Store"),
    ("training", "Training Cluster"),
    ("registry", "Model Registry"),
    ("deploy", "Canary Deploy"),
    ("monitoring", "Real-time Monitoring"),
)


def whole_house(now_s: float, *, canary: bool = False, phase: str = "STEP", is_slow: bool = False) -> dict[str, Any]:
    """Every section filled, of a cluster with one endpoint."""
    versions = [traffic("3.1", "stable", 8_000 if canary else 10_000, 330.1, 0, 2.4, 9.5)]
    if canary:
        versions.append(traffic("3.2", "canary", 2_000, 82.2, 3, 6.1 if is_slow else 2.5, 31.0 if is_slow else 10.4))
    return {
        "about": {
            **ABOUT,
            "links": [
                {"name": "MLflow", "url": "http://127.0.0.1:5000"},
                {"name": "Ray", "url": "http://127.0.0.1:8265"},
            ],
        },
        "sources": [{"name": name, "state": "ok", "read_at_s": now_s - 5, "reason": ""} for name in SOURCES],
        "live": live_metrics(now_s, versions),
        "history": quarter_hour(now_s),
        "stages": six_stages(now_s, "failed" if is_slow else "running" if canary else "done"),
        "pipelines": {"left_out": 0, "pipelines": [pipeline(now_s)]},
        "registry": {"models": 2, "total": 3, "pending": 1, "left_out": 0, "versions": registered(now_s)},
        "runs": {"left_out": 4_801, "counts": [], "runs": newest_runs(now_s)},
        "pods": {"left_out": 0, "scales": [], "replicas": [pod(now_s)]},
        "rollouts": [],
        "deployments": {
            "left_out": 0,
            "deployments": newest_deployments(now_s, canary and not is_slow, "rolled back" if is_slow else "promoted"),
        },
        "drift": {"left_out": 0, "endpoints": [drift(now_s)]},
        "curves": [curve(now_s, phase, is_slow)] if canary else [],
    }


def empty_house(now_s: float) -> dict[str, Any]:
    """A cluster that has just started."""
    live = live_metrics(now_s, [])
    nothing = dict.fromkeys(("latency_ms", "latency_before_ms", "latency_trend", "p50_ms", "p90_ms", "p99_ms"))
    live |= nothing | {
        "active_pipelines": 0, "running_pipelines": 0, "scheduled_pipelines": 0, "models": 0, "versions_total": 0,
        "pending_versions": 0, "requests_per_s": 0.0, "errors_per_s": 0.0, "requests": 0, "errors": 0,
    }  # fmt: skip
    stages = [{"id": name, "title": title, "state": "idle", "detail": "", "at_s": None} for name, title in STAGES]
    return {
        "about": ABOUT,
        "sources": [{"name": name, "state": "ok", "read_at_s": now_s, "reason": ""} for name in SOURCES],
        "live": live,
        "history": {"step_s": 5, "columns": HISTORY, "points": []},
        "stages": {"latest": None, "stages": stages},
        "pipelines": {"left_out": 0, "pipelines": []},
        "registry": {"models": 0, "total": 0, "pending": 0, "left_out": 0, "versions": []},
        "runs": {"left_out": 0, "counts": [], "runs": []},
        "pods": {"left_out": 0, "scales": [], "replicas": []},
        "rollouts": [],
        "deployments": {"left_out": 0, "deployments": []},
        "drift": {"left_out": 0, "endpoints": []},
        "curves": [],
    }


HISTORY = ["at_s", "requests_per_s", "errors_per_s", "mean_ms", "p50_ms", "p99_ms"]


def live_metrics(now_s: float, versions: list[dict]) -> dict[str, Any]:
    return {
        "at_s": now_s, "window_s": 60, "active_pipelines": 14, "running_pipelines": 0, "scheduled_pipelines": 14,
        "late_pipelines": 0, "paused_pipelines": 0, "models": 89, "versions_total": 412, "pending_versions": 3,
        "latency_ms": 3.1,
        "latency_before_ms": 3.5, "latency_trend": -0.12, "drift_alerts": 0, "drift_unknown": 0,
        "requests_per_s": 412.3, "errors_per_s": 0.05, "requests": 24_738, "errors": 3, "p50_ms": 2.4, "p90_ms": 5.0,
        "p99_ms": 9.8, "versions": versions,
    }  # fmt: skip


def traffic(version: str, role: str, weight_bp: int, per_s: float, errors: int, p50_ms: float, p99_ms: float) -> dict:
    return {
        "endpoint": "churn", "model": "churn-predictor", "version": version, "role": role, "weight_bp": weight_bp,
        "requests_per_s": per_s, "errors_per_s": errors / 60, "requests": round(per_s * 60), "errors": errors,
        "error_ratio": errors / (per_s * 60), "mean_ms": p50_ms * 1.2, "p50_ms": p50_ms, "p90_ms": p50_ms * 2,
        "p99_ms": p99_ms,
    }  # fmt: skip


def quarter_hour(now_s: float) -> dict[str, Any]:
    points: list[list[float | None]] = []
    for number in range(180):
        at_s, swing = now_s - 5 * (180 - number), math.sin(number / 9)
        gap = 60 < number < 66
        values = [400 + 60 * swing, 0.2 if number % 37 == 0 else 0.0, 3.3 - 0.3 * swing, 2.5 - 0.2 * swing, 9.9 + swing]
        points.append([at_s, *([None] * 5 if gap else values)])
    return {"step_s": 5, "columns": HISTORY, "points": points}


def six_stages(now_s: float, deploy: str) -> dict[str, Any]:
    details = (
        "20,000 rows read, 12 set aside", "1,500 customers", "50 epochs, AUC 0.912", "churn-predictor 3.2 passed",
        {"running": "churn: 3.2 at 20 %", "failed": "churn: 3.2 was rolled back"}.get(deploy, "churn: 3.1 serves"),
        "412 requests/s, no drift",
    )  # fmt: skip
    states = ("done", "done", "done", "done", deploy, "watching")
    latest = {
        "pipeline": "customer-churn-v3", "run_id": RUN, "status": "FINISHED", "started_at_s": now_s - 400,
        "ended_at_s": now_s - 305, "model": "churn-predictor", "version": "3.2", "endpoint": "churn",
    }  # fmt: skip
    stages = [
        {"id": name, "title": title, "state": state, "detail": detail, "at_s": now_s - 400 + 60 * number}
        for number, ((name, title), state, detail) in enumerate(zip(STAGES, states, details, strict=True))
    ]
    return {"latest": latest, "stages": stages}


def pod(now_s: float) -> dict[str, Any]:
    return {
        "name": "churn-predictor-v3.1-x7k2p", "ready": "1/1", "is_ready": True, "status": "Running", "restarts": 2,
        "since_s": now_s - 3_725, "ip": "10.0.0.7", "node": "host-1", "gpu": "T4/0.5", "version": "3.1",
        "role": "stable", "weight_bp": 10_000, "engine": "tensorrt", "engine_note": "", "reason": "",
    }  # fmt: skip


def pipeline(now_s: float) -> dict[str, Any]:
    return {
        "pipeline": "customer-churn-v3", "path": ".divisions/pipeline/ml_training.yaml", "text": PIPELINE,
        "is_scheduled": True, "expression": "0 2 * * *", "zone": "UTC", "next_run_s": now_s + 16_000,
        "is_paused": False, "is_running": False, "is_active": True, "lag_s": 0.0, "fault": "",
        "last": {"at_s": now_s - 70_000, "outcome": "succeeded", "message": "", "run_id": RUN},
    }  # fmt: skip


def version(version: str, stage: str, at_s: float, metrics: dict[str, float], **changes: Any) -> dict[str, Any]:
    usual = {
        "model": "churn-predictor", "version": version, "registry_version": int(10 * float(version)),
        "stage": stage, "validation": "passed",
        "message": "", "size_bytes": 142_000_000, "framework": "PyTorch 2.1", "metrics": metrics,
        "created_at_s": at_s, "run_id": RUN, "bundle_sha256": "ab12" * 16,
    }  # fmt: skip
    return usual | changes


def registered(now_s: float) -> list[dict[str, Any]]:
    return [
        version("3.2", "Production", now_s - 300, {"auc": 0.912, "precision": 0.88, "recall": 0.85}),
        version("3.1", "Staging", now_s - 90_000, {"auc": 0.894, "precision": 0.86, "recall": 0.84},
                 size_bytes=138_000_000, run_id=OLD_RUN),
        version("3.0", "Failed", now_s - 190_000, {"auc": 0.81}, message="auc 0.81 is not > 0.85", run_id=OLD_RUN),
        version("1.0", "Archived", now_s - 9_900_000, {"f1": 0.92}, model="sentiment-analyzer",
                 framework="TensorFlow 2.12", size_bytes=210_000_000),
    ]  # fmt: skip


def run(run_id: str, now_s: float, **changes: Any) -> dict[str, Any]:
    curves = {
        "valid_auc": [[epoch, 0.912 - 0.2 * math.exp(-epoch / 9)] for epoch in range(1, 51)],
        "train_loss": [[epoch, 0.3 + 0.4 * math.exp(-epoch / 8)] for epoch in range(1, 51)],
        "valid_loss": [[epoch, 0.33 + 0.38 * math.exp(-epoch / 8)] for epoch in range(1, 51)],
    }
    usual = {
        "run_id": run_id, "name": "customer-churn-v3", "pipeline": "customer-churn-v3", "status": "FINISHED",
        "started_at_s": now_s - 400, "ended_at_s": now_s - 305, "optimizer": "AdamW", "lr_schedule": "CosineAnnealing",
        "epochs": 50, "dataset": "s3://raw-events/partition=2026-11-27", "gpu_util": 94.0, "error": "",
        "metrics": {"auc": 0.912, "drift_score": 0.02, "valid_loss": 0.33},
        "gates": [
            {"metric": "auc", "operator": ">", "threshold": 0.85, "value": 0.912, "is_met": True},
            {"metric": "drift_score", "operator": "<", "threshold": 0.15, "value": 0.02, "is_met": True},
        ],
        "versions": [{"model": "churn-predictor", "version": "3.2", "stage": "Production"}], "curves": curves,
    }  # fmt: skip
    return usual | changes


def newest_runs(now_s: float) -> list[dict[str, Any]]:
    failed = {
        "status": "FAILED",
        "error": "worker 1 of 2 died: out of memory",
        "gates": [],
        "metrics": {},
        "versions": [],
    }
    return [
        run(RUN, now_s),
        run(OLD_RUN, now_s - 86_400, curves=None),
        run("deadbeef" * 4, now_s - 172_800, curves=None, **failed),
    ]


def newest_deployments(now_s: float, is_under_way: bool, ending: str) -> list[dict[str, Any]]:
    names = (
        ("authenticate", "Reach the cluster", "gateway 1.0.0"),
        ("package", "Package the model", "churn-predictor-v3.2.tar.gz, 142 MB"),
        ("push", "Push the bundle", "sha256 ab12ab12"), ("rollout", "Start the rollout", "canary 20%"),
    )  # fmt: skip
    steps = [
        {
            "name": name,
            "title": title,
            "began_s": now_s - 130 + 4 * number,
            "ended_s": now_s - 127.3 + 4 * number,
            "detail": detail,
            "error": "",
        }
        for number, (name, title, detail) in enumerate(names)
    ]
    watch = {
        "name": "watch",
        "title": "Watch the rollout",
        "began_s": now_s - 110,
        "ended_s": None if is_under_way else now_s - 60,
        "detail": "",
        "error": "",
    }
    head = {"target": "local", "model": "churn-predictor", "endpoint": "churn", "who": "ann@laptop"}
    past = head | {
        "number": 11,
        "version": "3.1",
        "began_s": now_s - 90_000,
        "ended_s": now_s - 89_000,
        "ending": "promoted",
        "is_under_way": False,
        "steps": steps[:2],
    }
    present = head | {
        "number": 12,
        "version": "3.2",
        "began_s": now_s - 130,
        "ended_s": None if is_under_way else now_s - 60,
        "ending": "" if is_under_way else ending,
        "is_under_way": is_under_way,
        "steps": [*steps, watch],
    }
    return [present, past]


def drift(now_s: float) -> dict[str, Any]:
    names = ("minutes", "age", "plan", "tickets", "abroad")
    scores = [
        {"feature": name, "hour": 0.012 * number, "day": 0.01 * number, "hour_usual": None, "day_usual": None}
        for number, name in enumerate(names)
    ]
    histogram = {
        "feature": "minutes", "bins": ["<= 18", "<= 25", "<= 40", "> 40", "missing"],
        "training": [0.1, 0.3, 0.4, 0.2, 0.0],
        "hour": [0.12, 0.28, 0.41, 0.18, 0.01], "day": [0.1, 0.3, 0.4, 0.2, 0.0],
    }  # fmt: skip
    return {
        "endpoint": "churn", "version": "3.1", "state": "watching", "customers_hour": 1_400, "customers_day": 1_500,
        "looked_at_s": now_s - 10, "alerts_total": 0, "alerts": [], "features": scores,
        "predictions": {"feature": "", "hour": 0.01, "day": None, "hour_usual": None, "day_usual": None},
        "histograms": [histogram],
    }  # fmt: skip


CURVE = [
    "at_s", "weight_bp", "latency_log_e", "error_log_e", "stable_per_s", "canary_per_s", "stable_errors",
    "canary_errors", "stable_p50_ms", "canary_p50_ms", "stable_p99_ms", "canary_p99_ms",
]  # fmt: skip


def curve(now_s: float, phase: str, is_slow: bool) -> dict[str, Any]:
    start_s = now_s - 200
    points: list[list[float | None]] = []
    for second in range(200):
        weight = 0 if second < 20 else 2_000
        if is_slow and second > 190:
            weight = 0
        rising = max(0.0, (second - 150) / 8.5) if is_slow else 0.3 * math.sin(second / 12) - second / 150
        p50 = 2.5 + (3.6 if is_slow and second > 150 else 0)
        canary = [p50, 9.5 + (21 if is_slow and second > 150 else 0.9)] if weight else [None, None]
        points.append(
            [start_s + second, weight, rising, -second / 90, 400, weight / 25, 0, 0, 2.4, canary[0], 9.5, canary[1]]
        )
    marks = [
        {"at_s": start_s, "phase": "PENDING", "weight_bp": 0, "message": "created"},
        {"at_s": start_s + 20, "phase": "STEP", "weight_bp": 2_000, "message": "step 1/3: 20 % to 3.2"},
    ]
    if is_slow:
        marks.append({"at_s": start_s + 190, "phase": "ROLLING_BACK", "weight_bp": 0, "message": "latency"})
    return {
        "endpoint": "churn",
        "rollout": 3,
        "stable_version": "3.1",
        "canary_version": "3.2",
        "phase": phase,
        "step_s": 1,
        "columns": CURVE,
        "points": points,
        "marks": marks,
    }
