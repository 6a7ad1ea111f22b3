from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from divisions.errors import ChannelError
from serving.replica.socket_folder import prepare_folder, remove_stale, socket_path


@pytest.fixture
def dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def bound(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    return listener


def test_a_new_folder_is_private(short_path: Path) -> None:
    prepare_folder(short_path / "sockets")
    assert (short_path / "sockets").stat().st_mode & 0o777 == 0o700
    prepare_folder(short_path / "sockets")


def test_a_folder_that_others_may_enter_is_refused(short_path: Path) -> None:
    (short_path / "open").mkdir()
    os.chmod(short_path / "open", 0o755)
    with pytest.raises(ChannelError, match="mode 0700"):
        prepare_folder(short_path / "open")


def test_a_link_in_the_folders_place_is_refused(short_path: Path) -> None:
    (short_path / "elsewhere").mkdir(mode=0o700)
    (short_path / "link").symlink_to(short_path / "elsewhere")
    with pytest.raises(ChannelError, match="must be a folder of user"):
        prepare_folder(short_path / "link")


def test_a_socket_names_its_replica_and_process() -> None:
    assert socket_path(Path("/tmp/x"), "churn#Ab_12-xyz98765", 42).name == "r-xyz98765-42.sock"


def test_only_sockets_that_refuse_and_have_a_dead_owner_are_removed(short_path: Path, dead_pid: int) -> None:
    stale = socket_path(short_path, "aaaa", dead_pid)
    bound(stale).close()
    mine_not_yet_listening = bound(socket_path(short_path, "bbbb", os.getpid()))
    of_another_container = bound(socket_path(short_path, "cccc", dead_pid))
    of_another_container.listen()
    (short_path / "notes.txt").write_text("not a socket of ours")
    assert remove_stale(short_path) == [stale]
    assert len(list(short_path.iterdir())) == 3
    mine_not_yet_listening.close()
    of_another_container.close()
