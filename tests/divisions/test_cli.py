"""The command line from the outside: exit statuses, messages, JSON."""

import json
import subprocess
import sys
from types import SimpleNamespace

import pytest

from divisions import cli, errors
from divisions.commands import predict as predict_command


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("DIVISIONS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DIVISIONS_PORT", "9")  # nothing answers there
    return tmp_path / "home"


@pytest.fixture
def divisions(capsys):
    """Runs a command line; returns its exit status, standard output and standard error."""

    def run(*arguments):
        status = cli.execute(arguments)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def fail_with(monkeypatch, error):
    def connect():
        raise error

    monkeypatch.setattr(predict_command, "connect", connect)


PREDICT = ("predict", "churn", "--json", '{"customer_id": "c-1"}')


def test_help_names_every_command(divisions):
    status, out, _ = divisions("--help")
    assert status == 0
    for name in ("up", "down", "run", "status", "rollout", "rollback", "models", "predict"):
        assert f"\n  {name} " in out


def test_version(divisions):
    assert divisions("--version")[:2] == (0, "0.1.0\n")


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("sttus",), "'status'"),
        (("up", "--prot", "1"), "--port"),
        (("up", "--port", "no"), "--port"),
        (("up", "--port", "70000"), "65535"),
        (("predict",), "'endpoint'"),
        (("rollout", "wach", "churn"), "watch"),
        (("run", "f.yaml", "--today", "yesterday"), "--today"),
    ],
)
def test_wrong_usage_exits_2_with_usage_and_a_hint(divisions, arguments, hint):
    status, out, err = divisions(*arguments)
    assert (status, out) == (2, "")
    assert "Usage: divisions" in err
    assert hint in err


@pytest.mark.parametrize(
    "arguments",
    [
        ("status",),
        ("status", "--output", "json"),
        ("rollout", "status", "churn"),
        ("rollout", "watch", "churn"),
        ("rollback", "churn"),
        PREDICT,
        ("down",),
    ],
)
def test_without_a_cluster_commands_say_how_to_start_one(divisions, arguments):
    status, out, err = divisions(*arguments)
    assert (status, out) == (1, "")
    assert err.startswith("error: ")
    assert "divisions up" in err
    assert err.count("\n") == 1


def test_a_misspelt_variable_is_an_error_of_one_line(divisions, monkeypatch):
    monkeypatch.setenv("DIVISIONS_PROT", "1")
    status, _, err = divisions("status")
    assert (status, err) == (1, "error: unknown setting DIVISIONS_PROT. did you mean DIVISIONS_PORT?\n")


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (errors.ConflictError("no", remedy="look"), 1, "error: no. look\n"),
        (errors.UsageError("no", remedy="look"), 2, "error: no. look\n"),
        (errors.PipelineError("no", path="f", line=1, column=2), 1, "error: f:1:2: no\n"),
        (errors.ClusterError("two\nlines"), 1, "error: two lines\n"),
        (
            errors.PipelineError("no", path="f", line=1, others=(errors.PipelineError("nor this", path="f", line=3),)),
            1,
            "error: f:1:0: no\nerror: f:3:0: nor this\n",
        ),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_errors_become_a_line_and_a_status(divisions, monkeypatch, error, status, line):
    fail_with(monkeypatch, error)
    assert divisions(*PREDICT) == (status, "", line)


@pytest.mark.parametrize(("data", "why"), [(None, "No such file or directory"), ("x", "it has no certificate")])
def test_authorities_that_are_none_are_told_whatever_the_command_asks(divisions, tmp_path, data, why):
    path = tmp_path / "ca.pem"
    if data is not None:
        path.write_text(data)
    status, _, err = divisions("--ca", str(path), "models", "list")
    remedy = "name a file of certificates in PEM"
    assert (status, err) == (1, f"error: the authorities in {path} cannot be used: {why}. {remedy}\n")


def test_a_crash_is_one_line_and_its_traceback_a_file(divisions, monkeypatch, home):
    fail_with(monkeypatch, ZeroDivisionError("surprise"))
    status, _, err = divisions(*PREDICT)
    (log,) = (home / "logs").iterdir()
    assert status == 1
    assert err.startswith("error: unexpected ZeroDivisionError: surprise")
    assert str(log) in err
    assert "Traceback" not in err
    assert "Traceback" in log.read_text()


@pytest.mark.parametrize("body", ["{", "[]", "{}", '{"customer": "c-1"}', '"c-1"'])
def test_predict_refuses_a_body_that_is_not_a_request(divisions, body):
    status, _, err = divisions("predict", "churn", "--json", body)
    assert status == 2
    assert err.startswith("error: --json ")


@pytest.mark.parametrize(
    "fault", ["delay=1", "batch_delay_ms", "batch_delay_ms=-1", "error_rate=often", "hang_after=1e3"]
)
def test_a_fault_is_a_known_name_and_a_number(divisions, fault):
    status, _, err = divisions("rollout", "start", "m", "--version", "1", "--fault", fault)
    assert status == 2
    assert "batch_delay_ms, error_rate, nan_rate, hang_after, crash_after" in err


def test_batches_are_counted_in_whole_numbers(divisions):
    status, _, err = divisions("rollout", "start", "m", "--version", "1", "--fault", "crash_after=2.5")
    assert status == 2
    assert "crash_after" in err


def test_an_empty_registry_has_no_versions(divisions):
    assert divisions("models", "list")[:2] == (0, "No versions: nothing was registered yet.\n")
    status, out, _ = divisions("models", "list", "--output", "json")
    assert (status, json.loads(out)) == (0, {"versions": [], "foreign": []})
    status, _, err = divisions("models", "show", "churn-predictor", "3.1")
    assert status == 1
    assert "no version 3.1" in err


def test_a_model_without_versions_differs_from_an_empty_registry(divisions, monkeypatch):
    has = SimpleNamespace(
        list_versions=lambda model=None: [] if model else [SimpleNamespace(model="churn-predictor")],
        records=lambda model=None: [],
    )
    monkeypatch.setattr("divisions.commands.models._registry", lambda: has)
    monkeypatch.setattr("divisions.foreign_models.foreign_versions", lambda *_: [])
    assert divisions("models", "list", "nope")[:2] == (0, "No versions of nope; there are some of churn-predictor.\n")


@pytest.mark.parametrize("option", ["--num-gpus=1.5", "--num-gpus=-1", "--vram-gb=0", "--vram-gb=-3"])
def test_compile_takes_the_same_gpu_shares_as_the_pipeline_file(divisions, option):
    status, _, err = divisions("compile", "m", option)
    assert status == 2
    assert option.partition("=")[0] in err


def test_the_package_imports_the_client_on_first_use():
    code = (
        "import sys, divisions; assert 'divisions.sdk.client' not in sys.modules; "
        "from divisions import AsyncClient, Client; assert Client.__module__ == 'divisions.sdk.client'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_help_needs_nothing_heavy():
    code = (
        "import sys; from divisions import cli; cli.execute(['--help']); "
        "print(sorted({'ray', 'torch', 'mlflow', 'numpy', 'httpx', 'rich', 'yaml'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("arguments", [("up", "--bootstrap"), ("rollout", "start", "m", "--version", "1")])
def test_without_a_pipeline_file_in_the_current_folder_one_must_be_named(
    divisions, home, tmp_path, monkeypatch, arguments
):
    monkeypatch.chdir(tmp_path)
    status, out, err = divisions(*arguments)
    assert (status, out) == (2, "")
    assert err.startswith("error: there is no .divisions/pipeline/ml_training.yaml in the current folder")
    assert "--pipeline" in err
    assert not home.exists()


def test_a_path_that_is_too_long_for_sockets_names_the_variable(divisions, home, tmp_path, monkeypatch):
    folder = tmp_path / ("x" * 100)
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    status, _, err = divisions("up")
    assert status == 1
    assert "TMPDIR" in err
    assert not home.exists()
