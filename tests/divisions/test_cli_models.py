"""``divisions models``: what it prints, on a registry in memory."""

import json
import re

import msgspec
import pytest

from divisions import cli
from divisions.clock import SystemClock
from divisions.errors import RegistryError
from divisions.schema import Feature, FeatureKind, FeatureSchema
from divisions.versions import RegisteredVersion, RunRecord, ValidationStatus
from trainers.export.bundle_writer import BundleIdentity, write_bundle

SCHEMA = FeatureSchema(
    (
        Feature("auc", FeatureKind.NUMERIC),  # the name of a metric, too
        Feature("plan", FeatureKind.CATEGORICAL, tuple(f"p{i}" for i in range(10))),
    )
)


class MemoryRegistry:
    """One version; its bundle was trained by the run ``trained``."""

    def __init__(self, bundle):
        self.version = RegisteredVersion(
            "churn-predictor",
            "3.1",
            1,
            "again",
            bundle.path,
            bundle.sha256,
            ValidationStatus.PASSED,
            {"auc": 0.9},
            lineage={"trained_by": "trained"},
        )
        self.runs = {"trained": {"epochs": "50", "learning_rate": "0.001"}}
        self.unarchived = []

    def records(self, model=None):
        return []

    def get_version(self, model, version):
        return self.version

    def list_versions(self, model=None):
        return [self.version]

    def get_run(self, run_id):
        if run_id not in self.runs:
            raise RegistryError(f"the registry has no run {run_id}")
        return RunRecord(run_id, "", "", "FINISHED", 0.0, 0.0, self.runs[run_id], {}, {})

    def best_epoch(self, run_id):
        return 17

    def unarchive(self, model, version):
        self.unarchived.append((model, version))
        return self.version


@pytest.fixture
def registry(tmp_path, monkeypatch):
    identity = BundleIdentity("churn-predictor", "churn", "torch")
    registry = MemoryRegistry(write_bundle(tmp_path, identity, SCHEMA, {}, {"model.onnx": b"x"}))
    monkeypatch.setattr("divisions.commands.models._registry", lambda: registry)
    return registry


def test_show_has_features_hyperparameters_and_the_best_epoch(registry, capsys):
    assert cli.execute(["models", "show", "churn-predictor", "3.1"]) == 0
    lines = [[part.strip() for part in line.split(": ", 1)] for line in capsys.readouterr().out.splitlines()]
    assert ["Best epoch", "17 of 50"] in lines
    assert ["learning_rate", "0.001"] in lines
    assert ["auc", "0.9"] in lines
    assert ["auc", "numeric"] in lines
    assert ["plan", "categorical: p0, p1, p2, p3, p4, p5, p6, p7 and 2 more"] in lines


def test_show_as_json_keeps_its_fields_and_adds_the_training(registry, capsys):
    assert cli.execute(["models", "show", "churn-predictor", "3.1", "--output", "json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["version"], shown["metrics"], shown["bundle_path"]) == (
        "3.1",
        {"auc": 0.9},
        str(registry.version.bundle_path),
    )
    assert [feature["name"] for feature in shown["features"]] == ["auc", "plan"]
    assert (shown["hyperparameters"]["epochs"], shown["best_epoch"], shown["notes"]) == ("50", 17, [])


def test_show_says_what_it_cannot_read(registry, capsys):
    (registry.version.bundle_path / "manifest.json").chmod(0o644)
    (registry.version.bundle_path / "manifest.json").write_text("{")
    registry.runs.clear()
    assert cli.execute(["models", "show", "churn-predictor", "3.1"]) == 0
    told = capsys.readouterr()
    assert "Features" not in told.out
    assert "note: no features: bundle" in told.err
    assert "note: no hyperparameters: the registry has no run trained" in told.err


def test_unarchive_names_model_and_version(registry, capsys):
    assert cli.execute(["models", "unarchive", "churn-predictor", "3.1"]) == 0
    assert registry.unarchived == [("churn-predictor", "3.1")]
    assert "3.1" in capsys.readouterr().out


def test_a_version_is_packaged_as_one_file_with_the_same_bytes_each_time(registry, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("DIVISIONS_HOME", str(tmp_path))
    contents = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        arguments = ["models", "package", "churn-predictor", "3.1", "--to", str(tmp_path / name), "--output", "json"]
        assert cli.execute(arguments) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["file"] == str(tmp_path / name / "churn-predictor-v3.1.tar.gz")
        assert found["bundle_sha256"] == registry.version.bundle_sha256
        contents.append(((tmp_path / name / "churn-predictor-v3.1.tar.gz").read_bytes(), found["tar_sha256"]))
    assert contents[0] == contents[1]


def test_packaging_into_a_folder_that_is_absent_is_refused(registry, tmp_path, capsys):
    assert cli.execute(["models", "package", "churn-predictor", "3.1", "--to", str(tmp_path / "absent")]) == 2
    assert "does not exist" in capsys.readouterr().err


def test_the_list_has_framework_size_age_and_counts_what_is_pending(registry, capsys):
    now_s = SystemClock().wall_s()
    more = {"framework": "torch 2.13", "size_bytes": 1_420_000, "created_at_s": now_s - 7_205.0}
    registry.version = msgspec.structs.replace(registry.version, **more)
    assert cli.execute(["models", "list"]) == 0
    header, row, _, summary = capsys.readouterr().out.splitlines()
    cells = dict(zip(re.split(" {3,}", header), re.split(" {3,}", row), strict=True))
    assert (cells["FRAMEWORK"], cells["SIZE"], cells["AUC"]) == ("torch 2.13", "1.42MB", "0.900")
    assert cells["AGE"].startswith("2h")
    assert summary == "1 model, 1 version, 0 pending validation"
    registry.version = msgspec.structs.replace(registry.version, validation_status=ValidationStatus.PENDING)
    cli.execute(["models", "list"])
    assert capsys.readouterr().out.splitlines()[-1].endswith("1 pending validation")


def test_a_version_of_an_earlier_release_has_neither_framework_nor_size(registry, capsys):
    cli.execute(["models", "list"])
    assert re.search(r"passed +- +- +0\.900", capsys.readouterr().out)


def test_lineage_leads_from_a_version_to_its_data_and_back(registry, capsys):
    facts = {"partition": "2025-01-14", "data_sha256": "d" * 64, "python": "3.11", "code": "0.1.0 (abc)"}
    registry.version = msgspec.structs.replace(registry.version, lineage=facts)
    assert cli.execute(["models", "show", "churn-predictor", "3.1", "--lineage"]) == 0
    lines = [line.split(None, 1) for line in capsys.readouterr().out.splitlines()]
    assert ["partition:", "2025-01-14"] in lines
    assert ["data_sha256:", "d" * 64] in lines
    assert ["run_id:", "again"] in lines
    cli.execute(["models", "show", "churn-predictor", "3.1", "--lineage", "--output", "json"])
    assert json.loads(capsys.readouterr().out)["environment"] == {"python": "3.11"}
    assert cli.execute(["data", "used-by", "partition=2025-01-14"]) == 0
    assert re.search(r"churn-predictor +3\.1 .*2025-01-14 +d{16} +again", capsys.readouterr().out)
    cli.execute(["data", "used-by", "2025-01-15"])
    assert capsys.readouterr().out == "No version has used 2025-01-15.\n"
