"""``divisions models prune``: what it asks for, and what it prints."""

import json
from pathlib import Path

import pytest

from divisions import cli
from divisions.versions import RegisteredVersion, ValidationStatus


class MemoryRegistry:
    def __init__(self):
        passed, names = ValidationStatus.PASSED, [(number, f"3.{number}") for number in range(1, 4)]
        self.versions = [
            RegisteredVersion("m", label, number, "r", Path(f"m/{number:016d}"), f"{number:064d}", passed, {})
            for number, label in names
        ]

    def list_versions(self, model=None):
        return list(self.versions)

    def remove(self, version):
        self.versions.remove(version)


@pytest.fixture
def registry(tmp_path, monkeypatch):
    registry = MemoryRegistry()
    monkeypatch.setenv("DIVISIONS_HOME", str(tmp_path))
    monkeypatch.setattr("divisions.commands.models._registry", lambda: registry)
    return registry


def test_what_would_go_is_shown_and_then_goes(registry, capsys):
    assert cli.execute(["models", "prune", "--keep", "1", "--older-than", "90d", "--dry-run"]) == 0
    told = capsys.readouterr().out
    assert [line.split()[:2] for line in told.splitlines()[1:3]] == [["m", "3.1"], ["m", "3.2"]]
    assert told.endswith("\n2 would be removed, 1 stay (1 reference)\n")
    assert len(registry.versions) == 3
    assert cli.execute(["models", "prune", "--keep", "1", "-o", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert ([one["version"] for one in found["removed"]], found["is_done"]) == (["3.1", "3.2"], True)
    assert [one.version for one in registry.versions] == ["3.3"]


@pytest.mark.parametrize("wrong", [["--older-than", "soon"], ["--keep", "0"]])
def test_what_makes_no_sense_removes_nothing(registry, capsys, wrong):
    assert cli.execute(["models", "prune", *wrong]) == 2
    assert len(registry.versions) == 3
