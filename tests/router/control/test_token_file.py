"""The file of tokens: private, whole at every moment, one writer at a time. Defence: no token survives its revocation
because a process was killed."""

from __future__ import annotations

import errno
import os
import threading

import pytest

from divisions.access.tokens import AccessList
from divisions.errors import TokensUnavailableError
from router.control import token_file
from router.control.token_file import TokenFile


def counted(known: AccessList) -> AccessList:
    return AccessList(known.lineage, known.serial + 1)


def test_a_home_without_a_file_has_no_tokens_and_gets_none_by_reading(tmp_path):
    assert TokenFile(tmp_path).load() == AccessList()
    assert list(tmp_path.iterdir()) == []


def test_a_change_is_read_again_and_only_its_owner_can(tmp_path):
    assert TokenFile(tmp_path).change(counted).serial == 1
    assert TokenFile(tmp_path).change(counted).serial == 2
    assert TokenFile(tmp_path).load().serial == 2
    assert [path.stat().st_mode & 0o777 for path in tmp_path.iterdir()] == [0o600, 0o600]


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it, so nothing after it runs."""


@pytest.mark.parametrize("name", ["open", "write", "fsync", "replace"])
def test_killed_at_each_step_of_a_write_the_list_is_the_one_before_or_the_one_after(tmp_path, monkeypatch, name):
    TokenFile(tmp_path).change(counted)

    def killed(*arguments, **options):
        raise Killed

    with monkeypatch.context() as patched:
        if name == "write":
            patched.setattr(token_file, "encode", killed)
        else:
            patched.setattr(os, name, killed)
        with pytest.raises(Killed):
            TokenFile(tmp_path).change(counted)
    assert TokenFile(tmp_path).load().serial == 1
    assert TokenFile(tmp_path).change(counted).serial == 2


def test_a_full_disk_changes_nothing_and_says_so(tmp_path, monkeypatch):
    TokenFile(tmp_path).change(counted)

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(TokensUnavailableError, match=r"No space left.*free space"):
            TokenFile(tmp_path).change(counted)
    assert TokenFile(tmp_path).load().serial == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["access.json", "access.lock"]


def test_two_writers_take_turns(tmp_path):
    def write():
        for _ in range(10):
            TokenFile(tmp_path).change(counted)

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert TokenFile(tmp_path).load().serial == 40


@pytest.mark.parametrize(
    "content", [b"", b"{", b"null", b"\xff", b'{"format":1}', b'{"format":1,"access":{"tokens":[1]}}']
)
def test_a_damaged_file_lets_nobody_in_and_is_not_overwritten(tmp_path, content):
    path = tmp_path / "access.json"
    path.write_bytes(content)
    with pytest.raises(TokensUnavailableError, match="damaged"):
        TokenFile(tmp_path).load()
    with pytest.raises(TokensUnavailableError, match="damaged"):
        TokenFile(tmp_path).change(counted)
    assert path.read_bytes() == content


def test_a_file_of_a_later_release_is_left_alone(tmp_path):
    (tmp_path / "access.json").write_bytes(b'{"format":2,"access":{}}')
    with pytest.raises(TokensUnavailableError, match="format 2"):
        TokenFile(tmp_path).change(counted)


def test_a_file_that_cannot_be_read_is_an_error_not_an_empty_list(tmp_path):
    (tmp_path / "access.json").mkdir()
    with pytest.raises(TokensUnavailableError, match="cannot be read"):
        TokenFile(tmp_path).load()
