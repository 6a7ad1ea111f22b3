"""What Weights & Biases gets of a run: through a package of its name that is not theirs, and theirs offline."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from divisions import cli
from divisions.errors import RegistryError
from divisions.registry import Registry
from divisions.run_mirror import mirrored, read, send
from divisions.versions import RunRecord

HISTORIES = {"loss": [(1, 0.5), (2, 0.25)], "auc": [(2, 0.9)], "tree": [(2, 1.0), (4, 2.0)]}
TAGS = {"data_sha256": "d5", "input_uri": "/secret/place", "training_device": "CPU", "error": "c-17 is odd"}
RUN = RunRecord("ab" * 16, "churn 2025-01-13", "churn", "FINISHED", 1.0, 2.0, {"epochs": "2"}, {"auc": 0.9}, TAGS)


class Package:
    """Stands for ``wandb``."""

    def __init__(self, error=None):
        self.error = error
        self.calls = []
        self.summary = {}

    def Settings(self, **settings):
        return settings

    def init(self, **options):
        self.calls.append(("init", options))
        if self.error:
            raise self.error
        return SimpleNamespace(
            log=lambda values, step: self.calls.append(("log", step, values)),
            summary=self.summary,
            finish=lambda exit_code: self.calls.append(("finish", exit_code)),
        )


@pytest.fixture
def package(monkeypatch):
    package = Package()
    monkeypatch.setitem(sys.modules, "wandb", package)
    return package


def test_curves_are_rows_by_epoch_and_nothing_of_customers_or_places_is_sent():
    sent = mirrored(RUN, [SimpleNamespace(model="churn-predictor", version="3.1")], HISTORIES)
    assert sent.history == [(1, {"loss": 0.5}), (2, {"loss": 0.25, "tree": 1.0}), (4, {"tree": 2.0})]
    assert sent.config == {"epochs": "2", "data_sha256": "d5", "training_device": "CPU"}
    assert (sent.summary, sent.versions, sent.is_success) == ({"auc": 0.9}, ["churn-predictor 3.1"], True)


@pytest.mark.parametrize(("status", "exit_code"), [("FINISHED", 0), ("FAILED", 1), ("KILLED", 1)])
def test_a_run_is_sent_whole_and_ends_as_it_ended(package, tmp_path, status, exit_code):
    record = RunRecord(RUN.run_id, RUN.name, "churn", status, 1.0, 2.0, {}, {"auc": 0.9}, {})
    send(mirrored(record, [], HISTORIES), "models", tmp_path)
    (_, options), *logs, end = package.calls
    assert (options["project"], options["id"], options["resume"]) == ("models", RUN.run_id, "allow")
    assert [step for _, step, _ in logs] == [1, 2, 4]
    assert package.summary == {"auc": 0.9}
    assert end == ("finish", exit_code)


def test_without_the_package_the_remedy_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(RegistryError, match=r"pip install 'divisions\[wandb\]'"):
        send(mirrored(RUN, [], {}), "models", tmp_path)


def test_an_error_of_the_package_is_one_line(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "wandb", Package(ValueError("Traceback\n\nno such key")))
    with pytest.raises(RegistryError, match=r"did not take run abab.*: no such key") as caught:
        send(mirrored(RUN, [], {}), "models", tmp_path)
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    with Registry(home).start_run("churn", "a run", {}) as run:
        run.log_params({"epochs": 3})
        for epoch, loss in enumerate((0.5, 0.3, 0.2), start=1):
            run.log_metrics({"valid_loss": loss}, step=epoch)
    return home


def test_the_command_sends_what_the_registry_has(package, home, monkeypatch, capsys):
    monkeypatch.setenv("DIVISIONS_HOME", str(home))
    assert cli.execute(["runs", "mirror", "latest"]) == 2
    assert "set DIVISIONS_WANDB_PROJECT" in capsys.readouterr().err
    monkeypatch.setenv("DIVISIONS_WANDB_PROJECT", "models")
    assert cli.execute(["runs", "mirror", "latest"]) == 0
    run = Registry(home).list_runs(None, 1)[0]
    assert capsys.readouterr().out == f"run {run.run_id} is in the project models of Weights & Biases\n"
    assert [call[1:] for call in package.calls if call[0] == "log"] == [
        (1, {"valid_loss": 0.5}), (2, {"valid_loss": 0.3}), (3, {"valid_loss": 0.2}),
    ]  # fmt: skip
    assert read(Registry(home), run).config == {"epochs": "3"}


def test_the_real_package_writes_a_run_offline(home, tmp_path):
    pytest.importorskip("wandb", reason="the extra wandb is not installed")
    text = (
        "import sys; from pathlib import Path; from divisions.registry import Registry;"
        " from divisions.run_mirror import read, send; registry = Registry(Path(sys.argv[1]));"
        " send(read(registry, registry.list_runs(None, 1)[0]), 'models', Path(sys.argv[2]))"
    )
    subprocess.run(
        [sys.executable, "-c", text, str(home), str(tmp_path)],
        env={**os.environ, "WANDB_MODE": "offline"},
        stdin=subprocess.DEVNULL,
        cwd=Path(__file__).parents[2],
        timeout=240,
        check=True,
    )
    (written,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    data = written.read_bytes()
    assert b"valid_loss" in data
    assert str(home).encode() not in data
