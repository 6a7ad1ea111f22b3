"""Steps are read from what a run has really logged."""

from __future__ import annotations

from divisions.clock import ManualClock
from divisions.progress import step
from divisions.run_log import RunLog, log_path
from router.house.run_steps import steps_of
from tests.trainers.place import RecordingProgress


def test_the_log_of_a_run_gives_its_steps(tmp_path):
    clock = ManualClock()
    log = RunLog(RecordingProgress(), tmp_path, clock)
    with step(log, clock, "Prepare the data of file:///x (1)") as current:
        clock.advance(3.0)
        current.detail = "20 rows, 5 customers; csv"
    log.notice("a note: done in 3.0 s")
    log.begin("abc")
    try:
        with step(log, clock, "Train"):
            clock.advance(2.0)
            log.epoch_finished(1, 1, {"valid_auc": 0.5})
            raise ValueError
    except ValueError:
        pass
    log.step_started("Validate")
    prepared, trained, validating = steps_of(log_path(tmp_path, "abc").read_text())
    assert (prepared.name, prepared.detail) == ("Prepare the data of file:///x (1)", "20 rows, 5 customers; csv")
    assert prepared.ended_s == prepared.began_s + 3.0
    assert not prepared.has_failed
    assert (trained.name, trained.has_failed, trained.ended_s) == ("Train", True, trained.began_s + 2.0)
    assert (validating.name, validating.ended_s) == ("Validate", None)


def test_other_text_gives_no_step():
    assert steps_of("") == ()
    assert steps_of("2026-13-45 99:00:00 Train ...\nTrain ...\n\x00\n") == ()
    assert steps_of("Train ...\nno time\n") == ()
    assert steps_of("2026-11-27 02:00:09 Train: done in 8.0 s\n") == ()
