"""The file that remembers the schedule: whole or not at all, one writer at a time, one scheduler at a time."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest

from divisions.errors import ClusterError
from divisions.pipeline.trigger import Cron
from divisions.schedule import state_file
from divisions.schedule.claims import EndReport
from divisions.schedule.decisions import begin, new_entry
from divisions.schedule.state import Outcome, Schedule
from divisions.schedule.state_file import change_schedule, has_scheduler, read_schedule, scheduling_alone

ENTRY = new_entry("churn", "/p.yaml", Cron("0 2 * * *"), 0.0, is_added=True)


def test_an_absent_file_has_nothing_and_a_change_is_kept(tmp_path):
    assert read_schedule(tmp_path) == Schedule()
    change_schedule(tmp_path, lambda schedule: schedule.with_entry(ENTRY))
    assert read_schedule(tmp_path).entries == (ENTRY,)
    assert (tmp_path / state_file.NAME).stat().st_mode & 0o777 == 0o600


def test_a_change_to_none_changes_nothing(tmp_path):
    assert change_schedule(tmp_path, lambda schedule: None) is None
    assert not (tmp_path / state_file.NAME).exists()


@pytest.mark.parametrize("text", ["", "{", '{"entries": 3}', '{"entries": [{"pipeline": "x"}]}'])
def test_a_damaged_file_is_named_with_the_remedy(tmp_path, text):
    (tmp_path / state_file.NAME).write_text(text)
    with pytest.raises(ClusterError, match=r"schedule.json cannot be read: .* remove it"):
        read_schedule(tmp_path)


def test_a_file_of_a_later_release_is_left_alone(tmp_path):
    later = msgspec.json.encode(Schedule(format=2))
    (tmp_path / state_file.NAME).write_bytes(later)
    with pytest.raises(ClusterError, match="of a later release"):
        change_schedule(tmp_path, lambda schedule: schedule.with_entry(ENTRY))
    assert (tmp_path / state_file.NAME).read_bytes() == later


def test_a_write_that_fails_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    change_schedule(tmp_path, lambda schedule: schedule.with_entry(ENTRY))

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(state_file.os, "fsync", full)
    with pytest.raises(ClusterError, match="cannot be written: No space left on device"):
        change_schedule(tmp_path, lambda schedule: schedule.without("churn"))
    assert read_schedule(tmp_path).entries == (ENTRY,)


def test_changes_at_once_all_count(tmp_path):
    def count(_):
        def one_more(schedule):
            entry = schedule.find("churn") or ENTRY
            return schedule.with_entry(msgspec.structs.replace(entry, num_runs=entry.num_runs + 1))

        change_schedule(tmp_path, one_more)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(count, range(64)))
    assert read_schedule(tmp_path).entries[0].num_runs == 64


def test_a_home_has_one_scheduler_until_that_ends(tmp_path):
    hold = (
        "import sys; from pathlib import Path; from divisions.schedule.state_file import scheduling_alone\n"
        "with scheduling_alone(Path(sys.argv[1])) as alone: print(alone, flush=True); sys.stdin.read()"
    )
    assert not has_scheduler(tmp_path)
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "True\n"
        assert has_scheduler(tmp_path)
        with scheduling_alone(tmp_path) as is_alone:
            assert not is_alone
        other.kill()
    assert not has_scheduler(tmp_path)
    with scheduling_alone(tmp_path) as is_alone:
        assert is_alone


def test_a_run_begins_once_and_tells_its_end(tmp_path):
    started = begin(msgspec.structs.replace(ENTRY, waiting_s=(7_200.0,)), 7_200.0)
    change_schedule(tmp_path, lambda schedule: schedule.with_entry(started))
    report = EndReport(tmp_path, started.run.job_id)
    assert report.begins()
    assert not EndReport(tmp_path, started.run.job_id).begins()
    report.succeeded("churn-predictor 1.2 passed", "r-1")
    (entry,) = read_schedule(tmp_path).entries
    assert entry.run is None
    assert (entry.last.outcome, entry.last.message, entry.last.run_id) == (
        Outcome.SUCCEEDED, "churn-predictor 1.2 passed", "r-1"
    )  # fmt: skip
    report.failed("too late")
    assert read_schedule(tmp_path).entries == (entry,)


def test_a_run_by_hand_is_no_business_of_the_schedule(tmp_path):
    report = EndReport(tmp_path / "absent", "")
    assert report.begins()
    report.failed("x")
    assert not (tmp_path / "absent").exists()
