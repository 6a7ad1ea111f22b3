"""Folders of raw rows: whose process was killed is removed by the next one; what is in use stays."""

import os
import signal
import subprocess
import sys
import tempfile

import pytest

from trainers.data.engine import Limits, open_engine
from trainers.data.working_folder import remove_abandoned, working_folder

HOLDS = """
import sys, time
from trainers.data.working_folder import working_folder
with working_folder() as folder:
    (folder / "rows").write_text("c-1")
    print(folder, flush=True)
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


def make_old(folder):
    os.utime(folder, (0, 0))


def test_a_folder_is_gone_after_its_block_and_after_an_error(root):
    with working_folder() as folder:
        (folder / "rows").write_text("c-1")
    with pytest.raises(ValueError, match="bad"), working_folder():
        raise ValueError("bad")
    with open_engine(Limits(num_threads=1)) as engine:
        assert engine.folder.parent == root
    assert list(root.iterdir()) == []


def test_what_a_killed_process_has_left_is_removed_by_the_next(root):
    with subprocess.Popen([sys.executable, "-c", HOLDS], stdout=subprocess.PIPE, text=True) as process:
        left = process.stdout.readline().strip()
        make_old(left)
        assert remove_abandoned() == 0, "its process lives"
        process.send_signal(signal.SIGKILL)
    make_old(left)
    with working_folder() as folder:
        assert list(root.iterdir()) == [folder]


def test_a_young_folder_without_a_lock_and_other_files_stay(root):
    young, old, other = root / "divisions-rows-1", root / "divisions-rows-2", root / "other"
    for each in (young, old, other):
        each.mkdir()
    make_old(old)
    make_old(other)
    assert remove_abandoned() == 1
    assert sorted(root.iterdir()) == [young, other]


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make another user's folder")
def test_another_users_folder_stays(root):
    theirs = root / "divisions-rows-1"
    theirs.mkdir()
    make_old(theirs)
    os.chown(theirs, 65_534, 65_534)
    assert remove_abandoned() == 0
