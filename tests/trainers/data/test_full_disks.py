"""A full disk is named, with the remedy for that disk: TMPDIR's, or the home's. ``/dev/full`` stands for one."""

import errno
import os
import tempfile
from pathlib import Path

import duckdb
import numpy as np
import pytest

from divisions.artifacts.work_store import open_work_store
from divisions.errors import InputError
from divisions.pipeline.definition import Features
from divisions.settings import S3Settings, Settings
from tests.trainers.churn import training_data
from trainers.data.full_disks import full_disk_error, full_disk_told
from trainers.data.ingest import Reading, read_events
from trainers.data.working_folder import working_folder
from trainers.training.training_rows import store_rows

TMPDIR, HOME = "give TMPDIR a larger disk", "make room on that disk, or move the home (DIVISIONS_HOME) to a larger one"
FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("name", ["newest", "quarantine"])
def test_what_a_run_keeps_in_its_home_has_the_homes_remedy(tmp_path, name):
    (tmp_path / "events.csv").write_text(
        "customer_id,event_time,minutes,churn\n"
        + "".join(f"c-{i},{'2025-01-14' if i % 9 else 'soon'},{i},{i % 2}\n" for i in range(90))
    )
    home = tmp_path / "home" / "features"
    home.mkdir(parents=True)
    (home / name).symlink_to("/dev/full")
    reading = Reading(is_latest_only=True, **{name: home / name})
    with pytest.raises(InputError) as caught:
        read_events(
            str(tmp_path / "events.csv"),
            s3=S3Settings(),
            allow_buckets=(),
            features=Features(),
            label="churn",
            reading=reading,
        )
    assert caught.value.message == f"reading {tmp_path}/events.csv failed: no space left in {home}"
    assert caught.value.remedy == HOME


def test_rows_on_their_way_have_the_remedy_of_tmpdir():
    with working_folder() as folder:
        (folder / "spill").symlink_to("/dev/full")
        with pytest.raises(InputError) as caught, full_disk_told("reading", folder), duckdb.connect() as connection:
            connection.execute(f"COPY (FROM range(9)) TO '{folder}/spill' (FORMAT parquet)")
    assert str(caught.value) == f"reading failed: no space left in {tempfile.gettempdir()}. {TMPDIR}"


def test_an_error_without_a_name_is_of_the_folder_that_is_written(tmp_path):
    with working_folder() as folder:
        assert full_disk_error("reading", FULL, folder / "rows").remedy == TMPDIR
    assert full_disk_error("reading", FULL, tmp_path).remedy == HOME
    named = OSError(errno.EDQUOT, os.strerror(errno.EDQUOT), str(tmp_path / "home" / "part"))
    assert full_disk_error("reading", named, folder).message.endswith(f"no space left in {tmp_path / 'home'}")


@pytest.mark.parametrize("error", [OSError(errno.EACCES, "denied"), ValueError("full"), duckdb.IOException("gone")])
def test_other_errors_stay_what_they_are(error):
    with pytest.raises(type(error)) as caught, full_disk_told("reading", Path()):
        raise error
    assert caught.value is error


def test_training_rows_without_room_are_an_error_and_not_the_end_of_the_process(tmp_path, monkeypatch):
    def allocate(descriptor, start, length):
        assert (start, length) == (0, os.fstat(descriptor).st_size)
        assert length > training_data().train_rows_NF.nbytes
        raise FULL

    monkeypatch.setattr(os, "posix_fallocate", allocate)
    with pytest.raises(InputError, match="writing training rows failed: no space left in"):
        store_rows(training_data(), open_work_store(Settings(home=tmp_path)), "churn", tmp_path / "rows")
    assert np.load(tmp_path / "rows", mmap_mode="r").sum() == 0, "no page was written"
