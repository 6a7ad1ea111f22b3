"""The prediction log in S3, by the writer's real process: also with S3 away for a while, and with wrong credentials."""

import contextlib
import socket
import subprocess
import sys
import time

import httpx
import pyarrow.parquet as pq
import pytest
from moto.server import ThreadedMotoServer
from pyarrow.fs import S3FileSystem

from deploy.log_erasure import erase
from divisions.prediction_log import LogPolicy
from divisions.settings import S3Settings, load_settings
from router.prediction_log.frames import Cutter, decode_counts, encode
from router.prediction_log.retention import remove_old
from tests.e2e import s3_server
from tests.router.prediction_log.logged import entry, opened, rows_of

pytestmark = pytest.mark.e2e
BUCKET = "logs"
WAIT_S = 240.0
POLICY = LogPolicy(10_000, f"s3://{BUCKET}/churn-log", roll_s=1.0)


class Writer:
    """The process, and what it has told."""

    def __init__(self, name: str) -> None:
        self.socket, theirs = socket.socketpair()
        command = [sys.executable, "-m", "router.prediction_log.process", str(theirs.fileno()), name]
        self.process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
        theirs.close()
        self.socket.settimeout(WAIT_S)
        self._cutter = Cutter()

    def send(self, *messages) -> None:
        self.socket.sendall(b"".join(map(encode, messages)))

    def until(self, holds):
        ends_s = time.monotonic() + WAIT_S
        while time.monotonic() < ends_s:
            for body in self._cutter.feed(self.socket.recv(65_536)):
                counts = decode_counts(body)
                if holds(counts):
                    return counts
        raise TimeoutError("the writer did not tell it")

    def end(self) -> None:
        self.socket.close()
        assert self.process.wait(WAIT_S) == 0


@contextlib.contextmanager
def moto(port: int):
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    server.start()
    try:
        yield server.get_host_and_port()[1]
    finally:
        server.stop()


@pytest.fixture
def port():
    """Of a server that had its bucket made, and is away now. Its content outlives it in this process."""
    with moto(0) as found:
        url = f"http://127.0.0.1:{found}"
        httpx.post(f"{url}/moto-api/reset", timeout=60).raise_for_status()
        s3_server.client_of(url).create_bucket(Bucket=BUCKET)
    return found


@pytest.fixture
def start(port, tmp_path, monkeypatch):
    (tmp_path / "channel_token").write_text("token")
    for name, value in {
        "DIVISIONS_HOME": str(tmp_path),
        "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "any",
        "AWS_SECRET_ACCESS_KEY": "any",
        "AWS_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    writers = []

    def begin(name="gw") -> Writer:
        writers.append(Writer(name))
        return writers[-1]

    yield begin
    for writer in writers:
        writer.socket.close()
        writer.process.kill()
        writer.process.wait(WAIT_S)


def logged(port) -> list[str]:
    filesystem = S3FileSystem(
        access_key="any", secret_key="any", region="us-east-1", endpoint_override=f"127.0.0.1:{port}", scheme="http"
    )
    return sorted(pq.read_table(f"{BUCKET}/churn-log/churn", filesystem=filesystem)["request_id"].to_pylist())


def test_files_wait_while_s3_is_away_and_then_all_of_them_are_there(port, start):
    writer = start()
    writer.send(opened(POLICY), rows_of(0.0, entry(1), entry(2)))
    away = writer.until(lambda counts: counts.fault)
    assert away.versions[0].kept == 2
    assert away.waiting_bytes > 0
    writer.send(rows_of(0.0, entry(3)))
    writer.until(lambda counts: counts.versions[0].kept == 3)
    with moto(port):
        back = writer.until(lambda counts: not counts.fault and not counts.waiting_bytes and counts.files >= 2)
        assert back.versions[0].lost == {}
        writer.end()
        assert logged(port) == ["r-1", "r-2", "r-3"]


def test_wrong_credentials_are_told_and_rows_follow_when_a_writer_has_the_right_ones(
    port, start, monkeypatch, tmp_path
):
    with moto(port):
        url = f"http://127.0.0.1:{port}"
        httpx.post(f"{url}/moto-api/reset-auth", content=b"0", timeout=60).raise_for_status()
        try:
            writer = start()
            writer.send(opened(POLICY), rows_of(0.0, entry(1)))
            told = writer.until(lambda counts: counts.fault).fault
        finally:
            httpx.post(f"{url}/moto-api/reset-auth", content=b"inf", timeout=60).raise_for_status()
        assert "ACCESS_DENIED" in told or "INVALID_ACCESS_KEY_ID" in told or "403" in told
        assert str(tmp_path) not in told
        writer.process.kill()
        writer.process.wait(WAIT_S)
        another = start("next")
        another.until(lambda counts: counts.files >= 1 and not counts.waiting_bytes)
        another.end()
        assert logged(port) == ["r-1"]


def test_customers_and_old_files_leave_s3(port, start):
    with moto(port):
        writer = start()
        writer.send(opened(POLICY), rows_of(time.time() - time.monotonic(), entry(1, key="c-1"), entry(2, key="c-2")))
        writer.until(lambda counts: counts.files >= 1 and not counts.waiting_bytes)
        writer.end()
        erased = erase(load_settings(), "churn", "c-1")
        assert (erased.rows, erased.files, erased.failed) == (1, 1, [])
        assert logged(port) == ["r-2"]
        s3 = S3Settings(f"http://127.0.0.1:{port}", "us-east-1", "any", "any")
        days_s = 86_400.0
        assert remove_old(POLICY.to, "churn", 30 * days_s, time.time() + 29 * days_s, s3) == 0
        assert remove_old(POLICY.to, "churn", 30 * days_s, time.time() + 33 * days_s, s3) == 1
        assert (
            s3_server.client_of(f"http://127.0.0.1:{port}")
            .list_objects_v2(Bucket=BUCKET, Prefix="churn-log/churn/date=")
            .get("KeyCount")
            == 0
        )
    unreachable = erase(load_settings(), "churn", "c-2")
    assert unreachable.rows == 0
    assert len(unreachable.failed) == 1
    assert POLICY.to in unreachable.failed[0]
