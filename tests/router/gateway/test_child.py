"""A gateway as a real process, held by its stand-in; the controller is in this test's memory."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
import time
from pathlib import Path

import httpx
import msgspec
import pytest

from divisions.access.requests import Actor
from divisions.control import RoutingTable
from divisions.errors import ClusterError, LatchedSpecError, NotRunningError
from divisions.reports import GatewayReport
from router.gateway.child import GatewayChild

PATIENCE_S = 120.0


class FakeController:
    """Answers the calls of a gateway, on the stand-in's loop."""

    def __init__(self) -> None:
        self.reports: list[GatewayReport] = []
        self.reported = threading.Event()
        self.is_away = False

    async def call(self, method: str, arguments: tuple[object, ...], timeout_s: float) -> bytes:
        assert timeout_s > 0
        if self.is_away:
            raise NotRunningError("the controller does not answer")
        match method:
            case "poll_table":
                if arguments[0] != -1:
                    await asyncio.sleep(3600)
                return msgspec.msgpack.encode(RoutingTable(0))
            case "report":
                self.reports.append(msgspec.msgpack.decode(arguments[0], type=GatewayReport))
                self.reported.set()
                return b""
            case "status":
                return b'{"epoch":7}'
            case "start_rollout":
                assert arguments == (
                    b'{"endpoint":"churn"}',
                    True,
                    msgspec.json.encode(Actor("admin", "admin", "127.0.0.1")),
                )
                raise LatchedSpecError("rolled back before", remedy="repeat with --force")
        raise AssertionError(method)


def pids() -> set[int]:
    """Gateway processes of this test."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            command = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if parent == os.getpid() and b"router.gateway.process" in command:
            found.add(int(folder.name))
    return found


@pytest.fixture
def home(tmp_path, monkeypatch):
    (tmp_path / "token").write_text("secret")
    (tmp_path / "channel_token").write_text("channel")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    monkeypatch.setenv("DIVISIONS_HOME", str(tmp_path))
    monkeypatch.setenv("DIVISIONS_PORT", str(port))
    return f"http://127.0.0.1:{port}"


@pytest.fixture
def controller():
    return FakeController()


@pytest.fixture
def child(home, controller):
    child = GatewayChild("node", controller.call)
    child.start_and_wait()
    yield child
    child.stop()
    child.join(PATIENCE_S)
    assert not child.is_alive()
    assert not pids()


def until(is_so):
    end_s = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < end_s, "did not happen in time"
        time.sleep(0.02)


def test_it_shares_processors_with_no_other_process(child):
    (pid,) = pids()
    assert os.getsid(pid) == pid


def test_it_serves_and_reports(home, controller, child):
    assert httpx.get(f"{home}/healthz", timeout=60).status_code == 200
    assert controller.reported.wait(PATIENCE_S)
    assert controller.reports[0].epoch == 0
    assert child.is_serving


def test_calls_come_back_with_what_the_controller_said(home, controller, child):
    headers = {"authorization": "Bearer secret"}
    assert httpx.get(f"{home}/api/v2/status", headers=headers, timeout=60).json()["epoch"] == 7
    refused = httpx.post(
        f"{home}/api/v2/rollouts?force=1", headers=headers, content=b'{"endpoint":"churn"}', timeout=60
    )
    assert (refused.status_code, refused.json()["code"]) == (409, "LatchedSpecError")
    assert refused.json()["detail"] == "rolled back before. repeat with --force"
    controller.is_away = True
    assert httpx.get(f"{home}/api/v2/status", headers=headers, timeout=60).status_code == 503
    assert httpx.get(f"{home}/healthz", timeout=60).status_code == 200


def test_a_killed_gateway_is_started_again_under_another_name(home, controller, child):
    assert controller.reported.wait(PATIENCE_S)
    (first,) = pids()
    os.kill(first, signal.SIGKILL)
    until(
        lambda: pids() and pids() != {first} and controller.reports[-1].gateway_id != controller.reports[0].gateway_id
    )
    assert httpx.get(f"{home}/healthz", timeout=60).status_code == 200
    assert child.is_serving


def test_one_that_is_asked_to_end_by_the_system_is_started_again(child):
    (first,) = pids()
    os.kill(first, signal.SIGTERM)
    until(lambda: pids() and pids() != {first})


def test_one_that_hangs_is_not_serving_and_is_killed_in_the_end(child, monkeypatch):
    monkeypatch.setattr("router.gateway.child.SILENCE_S", 1.5)
    monkeypatch.setattr("router.gateway.child.STOP_S", 0.2)
    (pid,) = pids()
    os.kill(pid, signal.SIGSTOP)
    until(lambda: not child.is_serving)
    assert pids() == {pid}, "it hangs, and it is still there"
    child.stop()
    child.join(PATIENCE_S)
    assert not child.is_alive()
    assert not pids(), "a process that is stopped ends only by a kill"


def test_a_port_that_is_taken_is_named(home, controller):
    with socket.socket() as other:
        other.bind(("127.0.0.1", int(home.rpartition(":")[2])))
        other.listen()
        child = GatewayChild("node", controller.call)
        with pytest.raises(ClusterError, match=r"cannot listen on 127\.0\.0\.1:\d+.*DIVISIONS_PORT"):
            child.start_and_wait()
        child.join(PATIENCE_S)
    assert not pids()


def test_one_that_cannot_start_says_so(home, controller, tmp_path):
    (tmp_path / "token").unlink()
    child = GatewayChild("node", controller.call)
    with pytest.raises(ClusterError, match="ended at once, with exit status 1"):
        child.start_and_wait()
    child.join(PATIENCE_S)
