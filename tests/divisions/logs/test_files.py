"""Files that grow, are replaced, are cut off or come later; all of a home's in the order of time."""

from __future__ import annotations

import json

from deploy.shipping.deployments import DeploymentJournal
from deploy.shipping.release import Ending, Release, Step
from divisions.clock import ManualClock
from divisions.logs import files
from divisions.logs.files import HomeLogs, Tail
from divisions.logs.json_lines import older
from divisions.logs.lines import of_process
from divisions.run_log import log_path


def text(at_s: float, said: str) -> str:
    return json.dumps({"at_s": at_s, "level": "info", "process": "gateway", "text": said}) + "\n"


def said(lines) -> list[str]:
    return [line.text for line in lines]


def test_a_file_is_read_to_its_end_and_then_what_comes(tmp_path):
    path = tmp_path / "gateway.jsonl"
    tail = Tail(path, of_process)
    assert list(tail.lines()) == []
    path.write_text(text(1.0, "a") + "nonsense\n" + text(2.0, "b")[:10])
    assert said(tail.lines()) == ["a"]
    with path.open("a") as file:
        file.write(text(2.0, "b")[10:])
    assert said(tail.lines()) == ["b"]
    assert said(tail.lines()) == []


def test_a_file_that_was_replaced_is_read_to_its_end_first(tmp_path):
    path = tmp_path / "gateway.jsonl"
    tail = Tail(path, of_process)
    path.write_text(text(1.0, "a"))
    assert said(tail.lines()) == ["a"]
    with path.open("a") as file:
        file.write(text(2.0, "b"))
    path.replace(older(path))
    path.write_text(text(3.0, "c"))
    assert said(tail.lines()) == ["b", "c"]


def test_a_file_that_was_emptied_is_read_from_its_beginning(tmp_path):
    path = tmp_path / "gateway.jsonl"
    tail = Tail(path, of_process)
    path.write_text(text(1.0, "a" * 100))
    assert len(list(tail.lines())) == 1
    with path.open("w") as file:
        file.write(text(3.0, "c"))
    assert said(tail.lines()) == ["c"]


def test_of_a_long_file_the_end_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "TAIL_BYTES", 200)
    path = tmp_path / "gateway.jsonl"
    path.write_text("".join(text(float(number), str(number)) for number in range(1_000)))
    found = said(Tail(path, of_process).lines())
    assert found[-1] == "999"
    assert len(found) < 5


def test_all_logs_of_a_home_are_merged_by_time(tmp_path):
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "gateway.jsonl").write_text(text(3.0, "third"))
    (logs / "gateway.1.jsonl").write_text(text(1.0, "first"))
    (logs / "rollouts.jsonl").write_text('{"at_s":2.0,"endpoint":"churn","kind":"begun","message":"second"}\n')
    log_path(tmp_path, "abcd").parent.mkdir()
    log_path(tmp_path, "abcd").write_text("1970-01-01 00:00:04 fourth\n")
    home = HomeLogs(tmp_path)
    assert said(home.read()) == ["first", "churn: second", "third", "fourth"]
    (logs / "controller.jsonl").write_text(text(5.0, "fifth"))
    assert said(home.read()) == ["fifth"], "a process that came later is heard, too"
    assert home.read() == []


def test_one_runs_log_is_read_alone(tmp_path):
    for name in ("abcd1", "efgh1"):
        log_path(tmp_path, name).parent.mkdir(parents=True, exist_ok=True)
        log_path(tmp_path, name).write_text("1970-01-01 00:00:04 x\n")
    assert [line.facts["run_id"] for line in HomeLogs(tmp_path, "abcd").read()] == ["abcd1"]


def test_steps_of_a_deployment_come_as_they_are_done(tmp_path):
    clock = ManualClock()
    journal, home = DeploymentJournal(tmp_path, clock), HomeLogs(tmp_path)
    number, _ = journal.begin("local", Release("m", "3.2", "churn", "b", "ab", "churn", "cd"), "ann")
    step = Step("push", "Push it")
    journal.step_began(number, step)
    assert [line[-11:] for line in said(home.read())] == ["ocal by ann", "Push it ..."]
    clock.advance(1.0)
    journal.step_ended(number, step, detail="1 blob")
    assert said(home.read()) == ["✓ Push it: 1 blob"]
    clock.advance(1.0)
    journal.end(number, Ending.PROMOTED)
    assert len(home.read()) == 1


def test_a_home_without_logs_has_none_and_a_damaged_file_is_passed_over(tmp_path):
    (tmp_path / "deployments.db").write_bytes(b"no database" * 100)
    assert HomeLogs(tmp_path).read() == []
