"""What a run has printed is shown as before, and kept, within bounds."""

import os

from divisions import run_log
from divisions.clock import ManualClock
from divisions.run_log import RunLog, log_path
from tests.trainers.place import RecordingProgress


def new_log(tmp_path):
    shown = RecordingProgress()
    return shown, RunLog(shown, tmp_path, ManualClock(0.0))


def test_everything_is_shown_and_kept_from_before_the_run_had_an_id(tmp_path):
    shown, log = new_log(tmp_path)
    log.notice("the cluster has no T4")
    log.begin("r1")
    log.step_started("Train")
    log.epoch_finished(1, 2, {"loss": 0.5, "learning_rate": 0.1})
    log.step_finished("Train", 1.25, "2 epochs")
    log.step_failed("Register", 0.1)
    log.error("the disk is full")
    assert (shown.notices, shown.epochs, shown.done, shown.failed) == (
        ["the cluster has no T4"], 1, ["Train"], ["Register"]
    )  # fmt: skip
    kept = log_path(tmp_path, "r1").read_text()
    assert kept == log.text
    assert kept.splitlines() == [
        "1970-01-01 00:00:00 note: the cluster has no T4",
        "1970-01-01 00:00:00 Train ...",
        "1970-01-01 00:00:00   epoch 1/2: loss 0.5000",
        "1970-01-01 00:00:00 Train: done in 1.2 s (2 epochs)",
        "1970-01-01 00:00:00 Register: failed after 0.1 s",
        "1970-01-01 00:00:00 error: the disk is full",
    ]


def test_a_log_is_bounded_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(run_log, "MOST_BYTES", 200)
    _, log = new_log(tmp_path)
    log.begin("r1")
    for number in range(50):
        log.notice(f"notice {number}")
    lines = log_path(tmp_path, "r1").read_text().splitlines()
    assert len(lines) < 10
    assert lines[-1] == "the log is full: what came later is not kept"


def test_the_oldest_logs_are_forgotten(tmp_path, monkeypatch):
    monkeypatch.setattr(run_log, "MOST_FILES", 3)
    for number in range(6):
        new_log(tmp_path)[1].begin(f"r{number}")
        os.utime(log_path(tmp_path, f"r{number}"), (number, number))
    assert sorted(path.name for path in (tmp_path / "logs" / "runs").iterdir()) == ["r3.log", "r4.log", "r5.log"]


def test_a_home_that_cannot_be_written_ends_no_run(tmp_path):
    (tmp_path / "logs").write_text("a file in the place of the folder")
    shown, log = new_log(tmp_path)
    log.begin("r1")
    log.notice("x")
    assert shown.notices == ["x"]
    assert log.text.endswith("note: x\n")
