"""The writer as a real process."""

import socket
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from divisions.clock import SystemClock
from router.prediction_log.frames import Counts, Cutter, decode_counts, encode
from router.prediction_log.process import serve
from router.prediction_log.shipper import Shipper
from router.prediction_log.writer import LogWriter
from tests.router.prediction_log.logged import entry, opened, rows_of

WAIT_S = 60.0


@pytest.fixture
def writer(tmp_path, monkeypatch):
    (tmp_path / "channel_token").write_text("token")
    monkeypatch.setenv("DIVISIONS_HOME", str(tmp_path))
    ours, theirs = socket.socketpair()
    ours.settimeout(WAIT_S)
    command = [sys.executable, "-m", "router.prediction_log.process", str(theirs.fileno()), "gw"]
    process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
    theirs.close()
    yield ours, process
    ours.close()
    process.kill()
    process.wait(WAIT_S)


def kept(connection: socket.socket, cutter: Cutter, wanted: int) -> Counts:
    while True:
        for body in cutter.feed(connection.recv(65_536)):
            counts = decode_counts(body)
            if sum(version.kept for version in counts.versions) >= wanted:
                return counts


def logged(home) -> list[str]:
    return sorted(pq.read_table(home / "predictions" / "churn")["request_id"].to_pylist())


def test_it_ends_with_its_gateway_and_everything_is_in_its_place(writer, tmp_path):
    connection, process = writer
    connection.sendall(encode(opened()) + encode(rows_of(0.0, entry(1), entry(2))))
    kept(connection, Cutter(), 2)
    assert "/pandas/" not in Path(f"/proc/{process.pid}/maps").read_text(), "it takes 50 MB"
    connection.sendall(encode(rows_of(0.0, entry(3))))
    connection.close()
    assert process.wait(WAIT_S) == 0
    assert logged(tmp_path) == ["r-1", "r-2", "r-3"]
    assert list((tmp_path / "predictions" / "spool").iterdir()) == []


def test_what_it_has_told_to_be_kept_outlives_its_being_killed(writer, tmp_path):
    connection, process = writer
    connection.sendall(encode(opened()) + encode(rows_of(0.0, entry(1), entry(2))))
    kept(connection, Cutter(), 2)
    process.kill()
    process.wait(WAIT_S)
    assert not (tmp_path / "predictions" / "churn").exists()
    clock = SystemClock()
    shipper = Shipper(_put, clock.monotonic_s)
    LogWriter(tmp_path, "next", b"key", shipper).adopt()
    assert shipper.turn()
    assert logged(tmp_path) == ["r-1", "r-2"]


def _put(table, place, path):
    from divisions.settings import S3Settings
    from router.prediction_log import places

    places.put(table, place, path, S3Settings())


@pytest.mark.parametrize("rest", [encode(rows_of(0.0, entry(2)))[:-1], b"\xff" * 8])
def test_a_stream_that_ends_in_the_middle_of_a_frame_costs_that_frame(tmp_path, rest):
    ours, theirs = socket.socketpair()
    clock = SystemClock()
    shipper = Shipper(_put, clock.monotonic_s)
    shipper.start()
    ours.sendall(encode(opened()) + encode(rows_of(0.0, entry(1))) + rest)
    ours.close()
    serve(theirs, LogWriter(tmp_path, "gw", b"key", shipper), shipper, clock)
    assert logged(tmp_path) == ["r-1"]


def test_a_gateway_that_was_killed_with_counts_unread_costs_no_row_that_it_had_sent(tmp_path):
    ours, theirs = socket.socketpair()
    clock = SystemClock()
    shipper = Shipper(_put, clock.monotonic_s)
    shipper.start()
    ours.sendall(encode(opened()) + encode(rows_of(0.0, entry(1))))
    theirs.sendall(b"counts")
    ours.close()
    serve(theirs, LogWriter(tmp_path, "gw", b"key", shipper), shipper, clock)
    assert logged(tmp_path) == ["r-1"]
