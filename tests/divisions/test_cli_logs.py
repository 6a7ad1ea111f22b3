"""``divisions logs`` on a home."""

from __future__ import annotations

import json

import pytest

from deploy.shipping.deployments import DeploymentJournal
from deploy.shipping.release import Ending, Release
from divisions import cli
from divisions.clock import ManualClock
from divisions.commands import logs
from divisions.run_log import log_path

LINES = [
    {"at_s": 3.0, "level": "warning", "process": "gateway", "name": "ab", "pid": 1, "text": "no replica",
     "endpoint": "churn", "status": 503, "request_id": "r-1"},
    {"at_s": 1.0, "level": "info", "process": "controller", "name": "", "pid": 2, "text": "began"},
]  # fmt: skip


@pytest.fixture
def told(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DIVISIONS_HOME", str(tmp_path))
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "gateway.jsonl").write_text("".join(json.dumps(line) + "\n" for line in LINES))
    (tmp_path / "logs" / "rollouts.jsonl").write_text('{"at_s":2.0,"endpoint":"churn","kind":"HELD","message":"m"}\n')

    def run(*arguments):
        status = cli.execute(("logs", *arguments))
        return status, capsys.readouterr()

    return run


def test_lines_come_in_the_order_of_time(told):
    status, shown = told()
    assert (status, shown.out.splitlines()) == (
        0,
        [
            "1970-01-01 00:00:01.000 controller: began",
            "1970-01-01 00:00:02.000 rollout WARNING: churn: m",
            "1970-01-01 00:00:03.000 gateway ab WARNING: no replica [endpoint=churn status=503 request_id=r-1]",
        ],
    )
    assert told("-n", "1")[1].out.count("\n") == 1


def test_lines_are_chosen_by_request_rollout_and_level(told):
    (line,) = [json.loads(each) for each in told("--request", "r-1", "-o", "json")[1].out.splitlines()]
    assert (line["request_id"], line["source"], line["status"]) == ("r-1", "gateway", 503)
    assert told("--rollout", "churn")[1].out.count("\n") == 2
    assert "began" not in told("--level", "warning")[1].out
    assert "all others counted" in told("--request", "r-2")[1].out


def test_lines_are_chosen_by_run_and_deployment(told, tmp_path):
    log_path(tmp_path, "abcdef").parent.mkdir()
    log_path(tmp_path, "abcdef").write_text("1970-01-01 00:00:04 Train ...\n")
    assert told("--run", "abcd")[1].out == "1970-01-01 00:00:04.000 run abcdef: Train ...\n"
    journal = DeploymentJournal(tmp_path, ManualClock())
    number, _ = journal.begin("local", Release("m", "3.2", "churn", "b", "ab", "churn", "cd"), "ann")
    journal.end(number, Ending.PROMOTED)
    found = told("--deployment", str(number))[1].out.splitlines()
    assert [line.rpartition(": ")[2] for line in found] == ["deployment 1 of m 3.2 to local by ann", "promoted"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("--run", "../.."), ("--run", "ab"), ("--run", "abcd", "--request", "r"), ("--deployment", "99"),
        ("--level", "loud"),
    ],
)  # fmt: skip
def test_what_names_nothing_is_refused(told, arguments):
    status, shown = told(*arguments)
    assert status == 2
    assert shown.err


def test_following_shows_what_comes_until_it_is_stopped(told, tmp_path, monkeypatch):
    pauses = []

    def sleep(seconds):
        pauses.append(seconds)
        if len(pauses) > 1:
            raise KeyboardInterrupt
        with (tmp_path / "logs" / "gateway.jsonl").open("a") as file:
            file.write(json.dumps({**LINES[1], "at_s": 9.0, "text": "later"}) + "\n")

    monkeypatch.setattr(logs.time, "sleep", sleep)
    status, shown = told("-f")
    assert status == 130
    assert shown.out.splitlines()[-1] == "1970-01-01 00:00:09.000 controller: later"
