"""``divisions runs …`` on a registry of two pipelines."""

import json

import pytest

from divisions import cli
from divisions.commands.runs_view import compare, render
from divisions.errors import RegistryError
from divisions.registry import Registry
from divisions.registry_runs import RunReport, report_of
from divisions.run_log import ARTIFACT, log_path
from divisions.versions import RunRecord, ValidationStatus
from tests.builders import bundle_to_register

GATES = "auc_lower_bound > 0.5; auc > 0.85; drift_score < 0.15"


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A home with a run that was promoted, one that a gate refused, and one that failed; their ids, oldest first."""
    home = tmp_path_factory.mktemp("home")
    registry, ids = Registry(home), []
    runs = [("churn", 0.912, "passed", 256), ("churn", 0.61, "failed", 512), ("other", None, "", 256)]
    for pipeline, auc, status, batch in runs:
        tags = {"divisions.input_uri": f"s3://raw/{auc}"}
        with registry.start_run(pipeline, "a run", tags) as run:
            ids.append(run.run_id)
            run.log_params({"optimizer": "AdamW", "schedule": "cosine annealing", "epochs": 4, "batch_size": batch})
            run.log_params({"gates": GATES})
            for epoch, loss in enumerate((0.5, 0.3, 0.2, 0.25), start=1):
                run.log_metrics({"valid_loss": loss, "learning_rate": 0.1 / epoch}, step=epoch)
            if auc is None:
                continue
            run.log_metrics({"auc": auc, "auc_lower_bound": auc - 0.02, "customers": 3000.0}, step=4)
            if status == "passed":
                run.log_metrics({"drift_score": 0.02}, step=4)
            registry.register(
                run, model="churn-predictor", major=3, bundle_path=bundle_to_register(home / "a-bundle"),
                bundle_sha256="b0", metrics={"auc": auc}, status=ValidationStatus(status),
                message="" if status == "passed" else "auc > 0.85: auc is 0.61",
            )  # fmt: skip
    registry.keep_text(ids[0], ARTIFACT, "Train ...\n")
    registry.set_production("churn-predictor", "3.1")
    return home, ids


@pytest.fixture
def runs(filled, monkeypatch, capsys):
    home, _ = filled
    monkeypatch.setenv("DIVISIONS_HOME", str(home))

    def run(*arguments):
        status = cli.execute(["runs", *arguments])
        out, err = capsys.readouterr()
        return status, out + err

    return run


def test_the_list_has_the_newest_first_and_their_versions(runs, filled):
    _, ids = filled
    status, text = runs("list")
    rows = [line.split() for line in text.splitlines()]
    assert status == 0
    assert [row[0] for row in rows[1:]] == [run_id[:8] for run_id in reversed(ids)]
    assert rows[3][2] == "FINISHED"
    assert rows[3][-4:] == ["0.912", "0.02", "churn-predictor", "3.1"]
    assert rows[1][-3:] == ["-", "-", "-"]
    assert len(runs("list", "churn")[1].splitlines()) == 3
    assert len(runs("list", "--limit", "1")[1].splitlines()) == 2
    assert runs("list", "absent") == (0, "No runs of absent.\n")
    listed = json.loads(runs("list", "churn", "-o", "json")[1])["runs"]
    assert [[version["version"] for version in run["versions"]] for run in listed] == [["3.2"], ["3.1"]]


def test_a_run_is_shown_as_an_experiment(runs, filled):
    _, ids = filled
    status, text = runs("show", ids[0][:8])
    lines = text.splitlines()
    assert status == 0
    assert lines[0].startswith(f"Run {ids[0][:8]}   churn   20")
    for line in (
        "Optimizer:   AdamW",
        "LR schedule: cosine annealing",
        "Epochs:      4 of 4, best 3",
        "Dataset:     s3://raw/0.912, 3,000 customers",
        "✓ Validation AUC: 0.912 (threshold: > 0.85)",
        "✓ Drift score: 0.02 (threshold: < 0.15)",
        "→ Promoted to registry → Production: churn-predictor 3.1",
        "valid_loss  █▃▁▂  0.5 to 0.25",
    ):
        assert line in lines, text


@pytest.mark.parametrize(
    ("tags", "metrics", "told"),
    [
        (("CPU", "float32"), (), "none, trained in float32"),
        (("CPU", ""), (), "none"),
        (
            ("Tesla T4", "float32"),
            (94.4, 3.25, 15.0),
            "Tesla T4, 94 % used, 3.2 of 15.0 GB at most, trained in float32",
        ),
        (("A100", "bfloat16 and float32"), (), "A100, use not known, trained in bfloat16 and float32"),
        (("A100 MIG 1g.5gb", ""), (None, 2.0), "A100 MIG 1g.5gb, use not known, 2.0 GB at most"),
    ],
)
def test_a_run_says_which_gpu_it_has_used_and_how_much(tags, metrics, told):
    names = ("gpu_utilization_percent", "gpu_memory_gb", "gpu_memory_total_gb")
    noted = {name: value for name, value in zip(names, metrics, strict=False) if value is not None}
    device = {name: tag for name, tag in zip(("training_device", "training_precision"), tags, strict=True) if tag}
    record = RunRecord("0" * 32, "churn", "churn", "FINISHED", 0.0, 1.0, {}, noted, device)
    lines = render(RunReport(record, (), {}))
    assert [line.split(":", 1)[1].strip() for line in lines if line.startswith("GPU:")] == [told]


def test_a_run_that_noted_no_device_has_no_line_of_it(runs, filled):
    assert "GPU" not in runs("show", filled[1][0])[1]


def test_a_refused_run_says_which_gate_and_what_was_not_measured(runs, filled):
    text = runs("show", filled[1][1])[1]
    assert "✗ Validation AUC: 0.61 (threshold: > 0.85)" in text
    assert "? Drift score: not measured (threshold: < 0.15)" in text
    assert "✗ Registered as failed: churn-predictor 3.2, auc > 0.85: auc is 0.61" in text


def test_json_has_the_curves(runs, filled):
    shown = json.loads(runs("show", filled[1][0], "-o", "json")[1])
    assert shown["curves"]["valid_loss"] == [0.5, 0.3, 0.2, 0.25]
    assert "auc" not in shown["curves"]
    assert shown["versions"][0]["aliases"] == ["production"]


def test_runs_side_by_side_show_what_differs(runs, filled):
    _, ids = filled
    text = runs("compare", ids[0], ids[1])[1]
    rows = [line.split() for line in text.splitlines()]
    assert ["batch_size", "256", "512"] in rows
    assert ["auc", "0.912", "0.61"] in rows
    assert ["drift_score", "0.02", "-"] in rows
    assert "optimizer" not in text
    assert "No parameter and no data differ." in runs("compare", ids[0], ids[0])[1]
    assert len(json.loads(runs("compare", *ids, "-o", "json")[1])["runs"]) == 3
    assert runs("compare", ids[0])[0] == 2


def test_logs_are_those_of_the_home_or_else_the_artifact(runs, filled):
    home, ids = filled
    assert runs("logs", ids[0]) == (0, "Train ...\n")
    log_path(home, ids[0]).parent.mkdir(parents=True, exist_ok=True)
    log_path(home, ids[0]).write_text("Train ...\nRegister ...\n")
    try:
        assert runs("logs", ids[0])[1] == "Train ...\nRegister ...\n"
        assert json.loads(runs("logs", ids[0], "-o", "json")[1])["lines"] == ["Train ...", "Register ..."]
    finally:
        log_path(home, ids[0]).unlink()
    status, text = runs("logs", "latest")
    assert (status, text.count("\n")) == (1, 1)
    assert f"error: the log of run {ids[2]} is neither in " in text


def test_a_run_that_is_not_there_is_one_line(runs, filled, tmp_path, monkeypatch):
    for text in ("zzzz", "ab", "0" * 32, ""):
        status, said = runs("show", text)
        assert (status, said.count("\n")) == (1, 1)
        assert "has no run" in said
    monkeypatch.setenv("DIVISIONS_HOME", str(tmp_path))
    assert runs("list") == (0, "No runs yet. `divisions run PIPELINE` starts one.\n")
    assert "the registry has no runs" in runs("show", "latest")[1]


def test_a_registry_beside_a_store_of_bundles_gets_no_logs(tmp_path):
    registry = Registry(tmp_path, f"sqlite:///{tmp_path}/shared.db", artifacts="s3://models")
    registry.keep_text("0" * 32, ARTIFACT, "x")  # there is no such run, and nothing is asked
    with pytest.raises(RegistryError):
        Registry(tmp_path / "other").keep_text("0" * 32, ARTIFACT, "x")


def test_runs_of_trees_count_trees_and_not_the_values_that_are_kept(tmp_path):
    registry = Registry(tmp_path)
    with registry.start_run("churn", "trees", {}) as run:
        run.log_params({"kind": "gradient_boosting", "epochs": 500, "decision": "recall >= 0.8"})
        for tree, loss in ((5, 0.5), (10, 0.3), (13, 0.4)):
            run.log_metrics({"valid_loss": loss}, step=tree)
        run.log_metrics({"decision_threshold": 0.18675}, step=13)
    report = report_of(registry, registry.get_run(run.run_id))
    assert (report.epochs, report.best_epoch) == (13, 10)
    lines = render(report)
    for line in (
        "Kind:        gradient_boosting",
        "Epochs:      13 of 500, best 10",
        "Decision:    recall >= 0.8, yes from 0.187 on",
    ):
        assert line in lines


def test_runs_that_differ_behind_a_long_beginning_are_told_apart():
    days = [f"s3://raw-events-of-all-the-customers-of-ours/partition=2025-01-{day}" for day in (13, 14)]
    runs = [
        RunRecord(
            str(day) * 32, "churn", "churn", "FINISHED", 0.0, 1.0, {}, {"customers": 10_127.0}, {"input_uri": uri}
        )
        for day, uri in enumerate(days)
    ]
    text = "\n".join(compare(runs))
    assert "partition=2025-01-13" in text
    assert "partition=2025-01-14" in text
    assert "10,127" in text
