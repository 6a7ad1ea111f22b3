"""Whether somebody deploys: by the kernel's list of locks, without taking one."""

from __future__ import annotations

import fcntl
import os

from divisions import deployments
from divisions.deployments import is_worked_on, latest_of, lock_path


def test_a_lock_that_is_held_is_seen_and_not_touched(tmp_path):
    assert is_worked_on(tmp_path, "local") is False
    with lock_path(tmp_path, "local").open("a+") as file:
        assert is_worked_on(tmp_path, "local") is False
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        file.write(str(os.getpid()))
        file.flush()
        assert is_worked_on(tmp_path, "local") is True
        lock_path(tmp_path, "local").write_text("1")
        assert is_worked_on(tmp_path, "local") is False, "the file names another process"
        assert is_worked_on(tmp_path, "other") is False
    assert is_worked_on(tmp_path, "local") is False


def test_where_the_kernel_tells_nothing_it_is_not_known(tmp_path, monkeypatch):
    lock_path(tmp_path, "local").touch()
    monkeypatch.setattr(deployments, "_LOCKS", tmp_path / "absent")
    assert is_worked_on(tmp_path, "local") is None


def test_a_home_without_deployments_has_none(tmp_path):
    assert latest_of(tmp_path, 10) == []
    assert list(tmp_path.iterdir()) == []
