"""Tables have a bound, say what is left out, and tell unknown from empty."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from divisions.house_rows import GateRow, Pods, RegistryTable, Runs
from divisions.inventory import RunCount
from divisions.scaling import Scaling, VersionScale
from divisions.status import ReplicaStatus
from divisions.versions import RegisteredVersion, RunRecord, ValidationStatus
from router.house import tables
from router.house.tables import gates_of, pods_table, registry_table, runs_table, stage_of, thinned


def version(number: int, model: str = "m", status=ValidationStatus.PASSED, **changes) -> RegisteredVersion:
    return RegisteredVersion(
        model, f"3.{number}", number, f"run-{number}", Path("/b"), "ab", status, {"auc": 0.9},
        created_at_s=float(number), **changes,
    )  # fmt: skip


def run(number: int, **changes) -> RunRecord:
    found = RunRecord(f"run-{number}", "n", "churn", "FINISHED", float(number), number + 1.0, {}, {"auc": 0.9}, {})
    return msgspec.structs.replace(found, **changes)


@pytest.mark.parametrize(
    ("changes", "stage"),
    [
        ({"aliases": ("production",), "is_archived": True}, "Production"),
        ({"aliases": ("staging",)}, "Staging"),
        ({"is_archived": True, "aliases": ("staging",)}, "Archived"),
        ({"status": ValidationStatus.PENDING}, "Pending"),
        ({"status": ValidationStatus.FAILED}, "Failed"),
        ({}, "Passed"),
    ],
)
def test_a_version_has_the_first_stage_that_holds(changes, stage):
    assert stage_of(version(1, **changes)) == stage


def test_what_serves_comes_first_and_the_oldest_are_left_out(monkeypatch):
    monkeypatch.setattr(tables, "MOST_VERSIONS", 3)
    versions = [version(number) for number in range(1, 6)] + [version(9, status=ValidationStatus.PENDING)]
    versions.append(version(1, "old", aliases=("production",)))
    table = registry_table(versions)
    assert table.versions is not None
    assert [(row.model, row.version) for row in table.versions] == [("old", "3.1"), ("m", "3.9"), ("m", "3.5")]
    assert (table.models, table.total, table.pending, table.left_out) == (2, 7, 1, 4)
    assert registry_table(None) == RegistryTable()
    assert registry_table([]) == RegistryTable((), 0, 0, 0, 0)


def test_metrics_that_are_no_number_are_left_out_and_sizes_of_old_versions_are_unknown():
    found = version(1)
    odd = msgspec.structs.replace(found, metrics={"auc": float("nan"), "recall": 0.5}, size_bytes=0)
    rows = registry_table([odd]).versions
    assert rows is not None
    assert (rows[0].metrics, rows[0].size_bytes) == ({"recall": 0.5}, None)


def test_runs_have_their_versions_gates_and_curves(monkeypatch):
    monkeypatch.setattr(tables, "MOST_RUNS", 2)
    newest = run(3, params={"gates": "auc > 0.85; drift_score < 0.15", "epochs": "50"}, tags={"error": "x" * 9_000})
    counts = [RunCount("churn", "FINISHED", 4_821)]
    table = runs_table([newest, run(2), run(1)], {"run-3": {"loss": [(1, 0.5), (2, 0.4)]}}, [version(3)], counts)
    assert table.runs is not None
    first, second = table.runs
    assert (first.epochs, len(first.error), first.curves) == (50, 500, {"loss": ((1, 0.5), (2, 0.4))})
    assert [(each.version, each.stage) for each in first.versions] == [("3.3", "Passed")]
    assert second.curves is None
    assert table.left_out == 4_819
    assert runs_table(None, {}, [], []) == Runs()


def test_a_gate_is_met_not_met_or_not_known():
    found = gates_of(run(1, params={"gates": "auc > 0.85; auc > 0.95; drift_score < 0.15; nonsense; auc ~ 1"}))
    assert found == (
        GateRow("auc", ">", 0.85, 0.9, True),
        GateRow("auc", ">", 0.95, 0.9, False),
        GateRow("drift_score", "<", 0.15, None, None),
    )


def test_thinned_keeps_both_ends():
    values = [(float(number), 0.0) for number in range(1_000)]
    found = thinned(values, 100)
    assert (len(found), found[0], found[-1]) == (100, values[0], values[-1])


def test_replicas_that_do_not_run_stay_when_there_are_too_many(monkeypatch):
    monkeypatch.setattr(tables, "MOST_PODS", 1)
    ready = ReplicaStatus("a", True, "Running", 0, 12.4, "unix", "n1", "T4/1", "3.1", "stable", 10_000, 1, "onnx")
    failing = msgspec.structs.replace(ready, name="b", ready=False, status="Failing", age_s=0.0, reason="no room")
    scale = VersionScale("m-v3.1", "churn", "3.1", "stable", 1, 2, Scaling(1, 4), 0.512, "busy", "0.5 CPU")
    table = pods_table([ready, failing], [scale], {"n1": "host-1"}, 1_000.0)
    (pod,) = table.replicas
    assert (pod.name, pod.ready, pod.since_s, pod.reason, pod.node, table.left_out) == (
        "b", "0/1", None, "no room", "host-1", 1
    )  # fmt: skip
    assert pods_table([ready], (), {}, 1_000.0).replicas[0].since_s == 988.0
    (row,) = table.scales
    assert (row.least, row.most, row.utilization, row.note, row.is_automatic) == (1, 4, 0.51, "busy; 0.5 CPU", True)
    assert pods_table([], [], {}, 0.0) == Pods()
