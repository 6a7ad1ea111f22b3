"""The audit log on disk: killed at each step, full disk, two writers. Defence: no acknowledged line is lost."""

from __future__ import annotations

import errno
import os
import threading

import pytest

from divisions.access.audit import AuditHead
from divisions.access.audit_file import AuditFile
from divisions.errors import AuditUnavailableError
from tests.divisions.access.test_audit import event


def subjects(home) -> list[str]:
    found = AuditFile(home).read()
    assert found.fault == ""
    return [line.event.subject for line in found.lines]


def test_lines_follow_one_another_across_processes_and_only_their_owner_reads_them(tmp_path):
    assert AuditFile(tmp_path).read().lines == ()
    for name in "abc":
        AuditFile(tmp_path).append(event(subject=name))
    assert subjects(tmp_path) == ["a", "b", "c"]
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it, so nothing after it runs."""


@pytest.mark.parametrize(("step", "lines"), [("pwrite", "a"), ("fsync", "ab"), ("replace", "ab")])
def test_killed_at_each_step_the_log_goes_on_and_verifies(tmp_path, monkeypatch, step, lines):
    AuditFile(tmp_path).append(event(subject="a"))

    def killed(*arguments):
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(os, step, killed)
        with pytest.raises(Killed):
            AuditFile(tmp_path).append(event(subject="b"))
    assert subjects(tmp_path) == list(lines)
    AuditFile(tmp_path).append(event(subject="c"))
    assert subjects(tmp_path) == [*lines, "c"]


def test_killed_in_the_middle_of_a_line_its_rest_is_dropped_by_the_next_writer(tmp_path):
    AuditFile(tmp_path).append(event(subject="a"))
    with (tmp_path / "audit.jsonl").open("ab") as file:
        file.write(b'{"seq":2,"prev":"')
    assert AuditFile(tmp_path).read().is_cut_off
    AuditFile(tmp_path).append(event(subject="b"))
    assert subjects(tmp_path) == ["a", "b"]


def test_a_full_disk_leaves_no_part_of_a_line(tmp_path, monkeypatch):
    AuditFile(tmp_path).append(event(subject="a"))
    pwrite = os.pwrite

    def full(descriptor, data, offset):
        pwrite(descriptor, data[:10], offset)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", full)
        with pytest.raises(AuditUnavailableError, match="No space left"):
            AuditFile(tmp_path).append(event(subject="b"))
    assert not AuditFile(tmp_path).read().is_cut_off
    AuditFile(tmp_path).append(event(subject="c"))
    assert subjects(tmp_path) == ["a", "c"]


def test_a_part_that_was_written_is_no_line(tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", lambda descriptor, data, offset: len(data) - 1)
        with pytest.raises(AuditUnavailableError, match="full"):
            AuditFile(tmp_path).append(event())
    assert subjects(tmp_path) == []


def test_two_writers_make_one_chain(tmp_path):
    def write():
        for _ in range(10):
            AuditFile(tmp_path).append(event())

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(subjects(tmp_path)) == 40


def test_a_log_that_was_taken_away_or_shortened_is_found(tmp_path):
    for _ in range(3):
        AuditFile(tmp_path).append(event())
    path = tmp_path / "audit.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:2]))
    assert "1 lines are missing" in AuditFile(tmp_path).read().fault
    path.unlink()
    assert "3 lines are missing" in AuditFile(tmp_path).read().fault
    path.write_bytes(b"".join(lines))
    assert AuditFile(tmp_path).read().fault == ""
    (tmp_path / "audit.head").write_bytes(b"{")
    assert AuditFile(tmp_path).read().fault == "its head is missing"
    (tmp_path / "audit.head").unlink()
    assert AuditFile(tmp_path).read().fault == "its head is missing"


def test_a_damaged_last_line_is_found_also_after_more_was_written(tmp_path):
    AuditFile(tmp_path).append(event())
    path = tmp_path / "audit.jsonl"
    path.write_bytes(b"x" + path.read_bytes()[1:])
    AuditFile(tmp_path).append(event())
    assert AuditFile(tmp_path).read().fault.startswith("line 1 ")
    assert AuditHead().seq == 0
