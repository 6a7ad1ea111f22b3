"""``divisions audit …`` on a home."""

from __future__ import annotations

import json

import pytest

from divisions import cli
from divisions.access.audit_file import AuditFile
from tests.divisions.access.test_audit import event


@pytest.fixture
def told(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DIVISIONS_HOME", str(tmp_path))

    def run(*arguments):
        return cli.execute(("audit", *arguments)), capsys.readouterr().out

    return run


def test_lines_are_listed_and_verified_and_tampering_is_told(told, tmp_path):
    assert told("verify") == (0, "0 lines are as they were written\n")
    assert told("list") == (0, "nobody has asked for anything\n")
    AuditFile(tmp_path).append(event(0, subject="churn"))
    AuditFile(tmp_path).append(event(1, who="bob", outcome="refused", reason="no such endpoint", address=""))
    status, text = told("list")
    assert status == 0
    assert "1970-01-01 00:00:01   bob" in text
    assert "refused: no such endpoint" in text
    assert "inside" in text
    assert [line["event"]["who"] for line in json.loads(told("list", "--who", "bob", "-o", "json")[1])] == ["bob"]
    assert "bob" not in told("list", "--limit", "1", "--who", "ann")[1]
    assert told("verify")[0] == 0
    path = tmp_path / "audit.jsonl"
    path.write_bytes(path.read_bytes().replace(b"bob", b"ann"))
    status, text = told("verify")
    assert (status, text.startswith("damaged: line 2 ")) == (1, True)
    status, text = told("verify", "-o", "json")
    assert (status, json.loads(text)["lines"]) == (1, 1)
