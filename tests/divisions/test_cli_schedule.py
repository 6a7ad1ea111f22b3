"""``divisions schedule …``: what users see and what is refused."""

import json

import msgspec
import pytest

from divisions import cli
from divisions.schedule.state import Ended, Outcome, ScheduledRun
from divisions.schedule.state_file import change_schedule, read_schedule, scheduling_alone

TEXT = """pipeline: churn
trigger: {schedule: "30 2 * * *", zone: Europe/Berlin}
stages: {data_prep: {input: data}, deployment: {endpoint: /api/v2/predict/churn}}
"""


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("DIVISIONS_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "churn.yaml"
    path.write_text(TEXT)
    return path


@pytest.fixture
def divisions(capsys):
    def run(*arguments):
        status = cli.execute(["schedule", *arguments])
        out, err = capsys.readouterr()
        return status, out + err

    return run


def change(home, **fields):
    entry = msgspec.structs.replace(read_schedule(home).find("churn"), **fields)
    change_schedule(home, lambda schedule: schedule.with_entry(entry))


def test_nothing_is_scheduled_and_nothing_is_made(divisions, home):
    assert divisions("list") == (0, "No pipeline is scheduled. `divisions schedule add FILE` schedules one.\n")
    assert not home.exists()


def test_a_file_is_added_listed_paused_resumed_and_removed(divisions, home, file):
    status, text = divisions("add", str(file))
    assert status == 0
    header, row = text.splitlines()
    assert header.split("   ")[0].strip() == "PIPELINE"
    assert row.startswith("churn      30 2 * * * Europe/Berlin   last       2")
    assert " 02:30 CE" in row or " 03:00 CEST" in row
    assert divisions("add", str(file))[0] == 0  # again changes nothing
    assert "Nothing starts these runs now: no `divisions up` of this home runs." in divisions("list")[1]
    assert " paused " in divisions("pause", "churn")[1]
    assert read_schedule(home).find("churn").is_paused
    assert " paused " not in divisions("resume", "churn")[1]
    assert divisions("remove", "churn")[0] == 0
    assert read_schedule(home).entries == ()


def test_the_last_run_and_a_fault_are_shown(divisions, home, file):
    divisions("add", str(file))
    change(home, last=Ended(0.0, Outcome.FAILED, "raw data is gone"), fault=f"{file}: it is broken")
    text = divisions("list")[1]
    assert "never: see below   1970-01-01 01:00 CET failed: raw data is gone" in text
    assert f"\nchurn: {file}: it is broken\n" in text
    change(home, run=ScheduledRun("churn-1", 86_400.0), fault="")
    assert "starting, of 1970-01-02 01:00 CET" in divisions("list")[1]


def test_a_long_message_of_the_last_run_stands_below_the_table(divisions, home, file):
    divisions("add", str(file))
    message = "input s3://raw/partition=2025-01-15 holds no files. existing nearby: partition=2025-01-14"
    change(home, last=Ended(0.0, Outcome.FAILED, message))
    _, row, below, *_ = divisions("list")[1].splitlines()
    assert row.endswith(" CET failed: see below")
    assert below == f"churn: the last run failed: {message}"


def test_json_has_times_in_seconds(divisions, home, file):
    divisions("add", str(file))
    answer = json.loads(divisions("list", "-o", "json")[1])
    (entry,) = answer["schedules"]
    assert entry["next_run_s"] % 60 == 0
    assert entry["next_run_s"] > entry["decided_until_s"]
    assert answer["scheduler"] is False


@pytest.mark.parametrize("command", ["pause", "resume", "remove"])
def test_a_pipeline_that_is_not_scheduled(divisions, file, command):
    assert divisions(command, "x") == (
        2, "error: the pipeline x is not scheduled. schedule it with `divisions schedule add FILE`\n"
    )  # fmt: skip
    divisions("add", str(file))
    assert "the scheduled ones are churn" in divisions(command, "x")[1]


def test_what_cannot_be_added(divisions, file, tmp_path):
    status, text = divisions("add", str(tmp_path / "absent.yaml"))
    assert (status, "cannot be read: No such file" in text) == (1, True)
    divisions("add", str(file))
    other = tmp_path / "other.yaml"
    other.write_text(TEXT)
    status, text = divisions("add", str(other))
    assert (status, f"the pipeline churn is scheduled by {file}" in text) == (2, True)
    other.write_text(TEXT.replace('trigger: {schedule: "30 2 * * *", zone: Europe/Berlin}\n', ""))
    assert divisions("add", str(other))[1].startswith(f"error: {other} has no trigger. write one")


def test_a_file_of_the_folder_is_not_forgotten_while_it_is_there(divisions, home, file):
    divisions("add", str(file))
    change(home, is_added=False)
    status, text = divisions("remove", "churn")
    assert (status, "`divisions schedule pause churn`" in text) == (2, True)
    file.unlink()
    assert divisions("remove", "churn")[0] == 0


def test_run_now_needs_a_scheduler_and_no_other_run(divisions, home, file):
    divisions("add", str(file))
    status, text = divisions("run-now", "churn")
    assert (status, f"no `divisions up` of {home} runs" in text) == (1, True)
    with scheduling_alone(home):
        assert divisions("run-now", "churn") == (0, "A run of churn starts.\n")
        assert read_schedule(home).find("churn").asked_s > 0
        assert divisions("run-now", "churn")[0] == 2
        change(home, asked_s=0.0, run=ScheduledRun("churn-1", 0.0))
        assert divisions("run-now", "churn")[1].startswith("error: a run of churn goes on. wait for its end")
        change(home, run=None, fault="it is broken")
        assert divisions("run-now", "churn")[1] == "error: it is broken. mend it first\n"


def test_a_damaged_schedule_is_one_line(divisions, home):
    home.mkdir()
    (home / "schedule.json").write_text("{")
    status, text = divisions("list")
    assert (status, text.count("\n")) == (1, 1)
    assert "schedule.json cannot be read" in text
