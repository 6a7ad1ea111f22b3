"""``divisions policy …`` on folders good and bad, with the engine's real processes."""

from __future__ import annotations

import functools
import io
import json
import os
import sys
import tarfile

import msgspec
import pytest

from divisions import cli
from divisions.policy import opa, rego_engine
from divisions.policy.bundle import load_bundle
from divisions.policy.engine import Kind, Query
from tests.divisions.policy.opa_library import reply, server
from tests.divisions.policy.questions import GOOD

POLICY = """package divisions.custom.team

import rego.v1

default allow := false

allow if input.kind == "rbac"

allow if not input.endpoint in data.custom.closed

reasons contains {"message": "it is closed", "remedy": "ask the owner"} if input.endpoint in data.custom.closed
"""
TESTS = """package divisions.custom.team_test

import rego.v1

inputs.closed := {"kind": "promotion", "endpoint": "fraud"}

test_closed if not data.divisions.custom.team.allow
"""
QUESTION = {"kind": "rbac", "principal": {"name": "ann", "role": "admin"}, "action": "promote", "endpoint": "churn"}


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "policy"
    folder.mkdir()
    (folder / "team.rego").write_text(POLICY)
    (folder / "team_test.rego").write_text(TESTS)
    (folder / "data.yaml").write_text("gates: {max_drift: 0.5}\nclosed: [fraud]\n")
    return folder


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """The command with a home, beside which `folder` is the policy. A busy machine has time to decide."""
    monkeypatch.setenv("DIVISIONS_HOME", str(tmp_path / "home"))
    for name in ("DIVISIONS_POLICY", "DIVISIONS_OPA_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(rego_engine, "RegoEngine", functools.partial(rego_engine.RegoEngine, limit_s=30.0))
    monkeypatch.setattr(opa, "OpaEngine", functools.partial(opa.OpaEngine, limit_s=30.0))

    def call(*arguments):
        status = cli.execute(["policy", *map(str, arguments)])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


def _question(tmp_path, question):
    path = tmp_path / "question.json"
    path.write_text(question if isinstance(question, str) else json.dumps(question))
    return path


def test_a_good_folder_is_tested_checked_and_shown(run, folder):
    digest = load_bundle(folder).digest
    status, out, err = run("test", "-o", "json")
    found = json.loads(out)
    assert (status, found["failures"], err) == (0, [], "")
    assert found["tests"] > 25
    status, out, _ = run("check")
    assert (status, out) == (0, f"policy {digest[:12]} can be used: {found['tests']} tests hold\n")
    status, out, _ = run("show")
    assert status == 0
    assert f"policy {digest}\n" in out
    assert "  team.rego: package divisions.custom.team: allow, reasons\n" in out
    assert "  max_drift: 0.5\n" in out
    assert out.endswith("your policies, each of which must allow it, too: team\n")
    shown = json.loads(run("show", "-o", "json")[1])
    assert (shown["digest"], shown["policies"], shown["gates"]["max_drift"]) == (digest, ["team"], 0.5)
    assert "team_test.rego" not in [rule["file"] for rule in shown["files"]]


def test_without_a_folder_the_rules_are_ours(run):
    assert run("show")[1].endswith("each of which must allow it, too: none\n")


@pytest.mark.parametrize("command", ["test", "check", "show", "bundle"])
def test_a_missing_folder_is_an_error_that_names_it(run, tmp_path, command):
    to = ("--out", tmp_path / "bundle.tar.gz") if command == "bundle" else ()
    status, out, err = run(command, "--folder", tmp_path / "polcy", *to)
    assert (status, out) == (1, "")
    assert err == f"error: {tmp_path}/polcy: there is no such folder. make it, or change DIVISIONS_POLICY\n"
    assert not (tmp_path / "bundle.tar.gz").exists()


@pytest.mark.parametrize("command", ["test", "check"])
@pytest.mark.parametrize(
    ("text", "says"),
    [
        (POLICY + "\nnonsense if {\n", "team.rego:13: "),
        (POLICY.replace("data.custom.closed\n\nreasons", "clsoed\n\nreasons"), "team.rego:9: nothing gives clsoed"),
        (POLICY.replace("not input", "not startwith(input.kind, input.x); input"), "there is no function startwith"),
        (POLICY.replace("divisions.custom.team", "divisions.authz"), "the package divisions.authz is not yours"),
    ],
    ids=["syntax", "name", "function", "package"],
)
def test_broken_rules_are_one_line_with_their_place(run, folder, command, text, says):
    (folder / "team.rego").write_text(text)
    status, out, err = run(command)
    assert (status, out) == (1, "")
    assert err.startswith("error: team.rego")
    assert says in err
    assert err.count("\n") == 1


def test_a_failing_test_is_named_with_its_file_and_line(run, folder):
    (folder / "team_test.rego").write_text(TESTS.replace("if not data", "if data"))
    status, out, err = run("test")
    assert (status, err) == (1, "")
    failure, summary = out.splitlines()
    assert failure == "team_test.rego:7: test_closed does not hold"
    held, _, num_tests = summary.partition(" tests hold")[0].partition(" of ")
    assert int(held) == int(num_tests) - 1
    status, out, _ = run("test", "-o", "json")
    assert (status, [failure["path"] for failure in json.loads(out)["failures"]]) == (1, ["team_test.rego"])
    status, out, err = run("check")
    assert (status, out) == (1, "")
    assert f"1 of {num_tests} tests fail: team_test.rego:7: test_closed" in err


@pytest.mark.parametrize("command", ["test", "check", "show"])
def test_faults_of_the_data_are_named_with_their_line(run, folder, command):
    (folder / "data.yaml").write_text("closed: []\nclosed: [fraud]\n")
    status, out, err = run(command)
    assert (status, out) == (1, "")
    assert err == "error: data.yaml:2: it is not YAML: the key 'closed' stands twice. correct it\n"


def test_a_question_is_decided_by_a_file_and_by_standard_input(run, folder, tmp_path, monkeypatch):
    status, out, _ = run("eval", "--input", _question(tmp_path, QUESTION))
    assert status == 0
    assert out.startswith(f"allowed by policy {load_bundle(folder).digest[:12]} in ")
    closed = Query(Kind.PROMOTION, msgspec.structs.replace(GOOD, endpoint="fraud")).document()
    standard = io.TextIOWrapper(io.BytesIO(json.dumps(closed).encode()))
    monkeypatch.setattr(sys, "stdin", standard)
    status, out, _ = run("eval", "--input", "-", "-o", "json")
    answer = json.loads(out)
    assert (status, answer["allow"], answer["policy_digest"]) == (1, False, load_bundle(folder).digest)
    assert {"rule": "custom.team", "message": "it is closed", "remedy": "ask the owner"} in answer["reasons"]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"{", "this is no question"),
        (b"\xff", "the question cannot be read"),
        (b'{"kind": "rbac", "x": ' + b"[" * 100_000, "this is no question"),
        (json.dumps(QUESTION | {"endpiont": "churn"}).encode(), "has no field 'endpiont'"),
    ],
    ids=["no JSON", "no text", "deep", "misspelt"],
)
@pytest.mark.parametrize("is_piped", [False, True], ids=["file", "pipe"])
def test_what_is_no_question_is_one_line(run, tmp_path, monkeypatch, data, says, is_piped):
    (tmp_path / "question.json").write_bytes(data)
    if is_piped:  # as Python opens it in the locale C
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), "utf-8", "surrogateescape"))
    status, out, err = run("eval", "--input", "-" if is_piped else tmp_path / "question.json")
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert err.startswith("error: ")
    assert says in err


def test_a_question_that_is_not_there_is_named(run, tmp_path):
    for path in (tmp_path / "none.json", tmp_path):
        status, _, err = run("eval", "--input", path)
        assert status == 1
        assert str(path) in err


def test_without_standard_input_there_is_no_question(run, monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    status, _, err = run("eval", "--input", "-")
    assert (status, err.startswith("error: this is no question")) == (1, True)


def test_a_name_in_a_question_writes_no_lines(run, folder, tmp_path):
    forged = "ann\nallowed by policy\x1b[2J"
    question = QUESTION | {"principal": {"name": forged, "role": f"viewer{forged}"}}
    status, out, _ = run("eval", "--input", _question(tmp_path, question))
    assert status == 1
    assert out.startswith("refused by policy ")
    assert all(line.startswith("  ") for line in out.splitlines()[1:])
    assert "\x1b" not in out


def test_the_server_decides_if_there_is_one_and_a_folder_that_is_named_comes_before_it(
    run, folder, tmp_path, monkeypatch
):
    asked = []

    def refuse(handler, document):
        asked.append(document)
        reply(handler, b'{"result": {"allow": false, "reasons": [{"rule": "r", "message": "m", "remedy": "x"}]}}')

    question = _question(tmp_path, QUESTION)
    with server(refuse) as url:
        monkeypatch.setenv("DIVISIONS_OPA_URL", url)
        status, out, _ = run("eval", "--input", question)
        assert (status, out.splitlines()[1]) == (1, "  r: m; x")
        assert run("eval", "--folder", folder, "--input", question)[0] == 0
    assert [document["action"] for document in asked] == ["promote"]


def test_a_bundle_is_what_a_server_loads(run, folder, tmp_path):
    to = tmp_path / "bundle.tar.gz"
    status, out, _ = run("bundle", "--out", to)
    assert (status, out.startswith(f"policy {load_bundle(folder).digest[:12]} is in {to}")) == (0, True)
    with tarfile.open(to) as tar:
        assert "team.rego" in tar.getnames()
        assert json.load(tar.extractfile("data.json"))["custom"] == {"closed": ["fraud"]}
    status, out, err = run("bundle", "--out", tmp_path / "none" / "bundle.tar.gz")
    assert (status, out) == (1, "")
    assert "bundle.tar.gz cannot be written: No such file or directory" in err


def test_without_the_engine_an_error_says_how_to_get_it(run, folder, tmp_path, monkeypatch):
    """A package that cannot be imported stands before the real one; what needs no engine works."""
    (tmp_path / "path" / "regopy").mkdir(parents=True)
    (tmp_path / "path" / "regopy" / "__init__.py").write_text("raise ImportError('libregocpp is not there')")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'path'}{os.pathsep}{os.getcwd()}")
    question = _question(tmp_path, QUESTION)
    for arguments in (["test"], ["check"], ["eval", "--input", question]):
        status, out, err = run(*arguments)
        assert (status, out) == (1, "")
        assert "regopy is not installed: libregocpp is not there" in err
        assert "pip install 'divisions[policy]'" in err
    assert run("show")[0] == 0
    assert run("bundle", "--out", tmp_path / "bundle.tar.gz")[0] == 0
