"""TLS with real processes: two gateways on one port, callers of other makes, Prometheus, commands, and a renewal."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import msgspec
import pytest

from deploy.prometheus import server
from deploy.supervision.gateway_address import answers_ok
from divisions.control import RoutingTable
from divisions.errors import SettingsError
from divisions.settings import load_settings
from divisions.status import ControllerStatus
from router.gateway.child import GatewayChild
from tests.port_certificates import write_pair

pytestmark = pytest.mark.e2e
PATIENCE_S = 120.0
LEAST = 20
"""Requests before and after the change."""


async def controller(method: str, arguments: tuple[object, ...], timeout_s: float) -> bytes:
    """A controller that knows an empty table."""
    if method == "poll_table":
        if arguments[0] != -1:
            await asyncio.sleep(3600)
        return msgspec.msgpack.encode(RoutingTable(1))
    return {"status": msgspec.json.encode(ControllerStatus(1)), "drift": b'{"endpoints":[]}'}.get(method, b"")


@pytest.fixture
def home(tmp_path, monkeypatch):
    certificate, key = write_pair(tmp_path)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / "token").write_text("secret")
    (folder / "channel_token").write_text("channel")
    for name, value in {"HOME": folder, "PORT": port, "TLS_CERT": certificate, "TLS_KEY": key}.items():
        monkeypatch.setenv(f"DIVISIONS_{name}", str(value))
    (folder / "cluster.json").write_bytes(msgspec.json.encode({"gateway_url": f"https://127.0.0.1:{port}"}))
    return folder


@contextlib.contextmanager
def gateways(count: int):
    children = [GatewayChild("node", controller) for _ in range(count)]
    try:
        for child in children:
            child.start_and_wait()
        yield f"https://127.0.0.1:{os.environ['DIVISIONS_PORT']}"
    finally:
        for child in children:
            child.stop()
        for child in children:
            child.join(PATIENCE_S)


def output(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
        env={**os.environ, **environment},
    )


def divisions(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return output(sys.executable, "-m", "divisions.cli", *arguments, **environment)


def until(is_so) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def test_everybody_follows_the_setting_and_a_renewal_costs_no_request(home, tmp_path):
    crt = str(tmp_path / "port.crt")
    with gateways(2) as url:
        assert answers_ok(url, "/healthz")
        if curl := shutil.which("curl"):
            told = output(curl, "-sS", "--cacert", crt, "--tls-max", "1.2", f"{url}/healthz")
            assert told.stdout == "ok\n", told.stderr
        outside = {"DIVISIONS_HOME": str(tmp_path / "other"), "DIVISIONS_GATEWAY": url, "DIVISIONS_TOKEN": "secret"}
        outside |= {"DIVISIONS_TLS_CERT": "", "DIVISIONS_TLS_KEY": ""}
        refused = divisions("status", "-o", "json", **outside)
        assert refused.returncode == 1
        assert refused.stderr.startswith(f"error: the certificate of {url} is not trusted: self-signed certificate")
        trusted = divisions("--ca", os.path.relpath(crt), "status", "-o", "json", **outside)
        assert trusted.returncode == 0, trusted.stderr
        text = httpx.get(f"{url}/metrics", verify=False, timeout=PATIENCE_S).text
        assert text.count("divisions_gateway_answered{") == 2
        assert "} 0.0" not in "".join(line for line in text.splitlines() if "gateway_answered" in line)
        _renew_under_load(url, tmp_path)
        # Its own commands know the new one: it is in the home.
        from divisions.sdk.client import Client

        with Client(url, timeout_s=PATIENCE_S) as client:
            assert client.status().rollouts == ()
        if shutil.which("prometheus"):
            _scraped(home)


def _renew_under_load(url: str, folder: Path) -> None:
    """Callers on kept connections and on new ones, while both gateways change their certificate."""
    both = ssl.create_default_context(cafile=str(folder / "port.crt"))
    both.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    answers: collections.Counter = collections.Counter()
    failures: list[str] = []
    is_over = threading.Event()

    def call(kind: str) -> None:
        with httpx.Client(verify=both, timeout=PATIENCE_S) as kept:
            while not is_over.is_set():
                try:
                    if kind == "kept":
                        reply = kept.get(f"{url}/healthz")
                    else:
                        reply = httpx.get(f"{url}/healthz", verify=both, timeout=PATIENCE_S)
                    reply.raise_for_status()
                    answers[kind] += 1
                except httpx.HTTPError as error:
                    failures.append(f"{kind}: {error!r}")
                    return

    callers = [threading.Thread(target=call, args=(kind,), daemon=True) for kind in ("kept", "new")]
    for caller in callers:
        caller.start()
    try:
        until(lambda: failures or min(answers["kept"], answers["new"]) > LEAST)
        write_pair(folder, "next", ends=90)
        both.load_verify_locations(str(folder / "next.crt"))
        for end in ("crt", "key"):
            shutil.copyfile(folder / f"next.{end}", folder / f"port.{end}")
        fresh = ssl.create_default_context(cafile=str(folder / "next.crt"))
        until(lambda: failures or all(_is_known(url, fresh) for _ in range(20)))
        start = dict(answers)
        until(lambda: failures or all(answers[kind] > start[kind] + LEAST for kind in ("kept", "new")))
    finally:
        is_over.set()
        for caller in callers:
            caller.join(PATIENCE_S)
    assert not failures


def _is_known(url: str, context: ssl.SSLContext) -> bool:
    try:
        return httpx.get(f"{url}/healthz", verify=context, timeout=PATIENCE_S).status_code == 200
    except httpx.ConnectError:
        return False


def _scraped(home: Path) -> None:
    settings = load_settings()
    server.prepare(settings, home / "no-pipelines")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{probe.getsockname()[1]}"
    path = home / "prometheus" / "prometheus.yml"
    path.write_text(path.read_text().replace("15s", "1s"))
    command = ["prometheus", f"--config.file={path}", f"--storage.tsdb.path={home}/prometheus/data"]
    with (home / "prometheus" / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, f"--web.listen-address={place}"], stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        until(lambda: _up(place) == ["1", "1"])
    finally:
        process.kill()
        process.wait(PATIENCE_S)


def _up(place: str) -> list[str]:
    try:
        reply = httpx.get(f"http://{place}/api/v1/query", params={"query": "up"}, timeout=PATIENCE_S)
    except httpx.TransportError:
        return []
    return [row["value"][1] for row in reply.json()["data"]["result"]] if reply.status_code == 200 else []


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"passphrase": b"tell-nobody"}, "is encrypted, and nobody is there to type its passphrase"),
        ({"name": "other"}, "does not belong to the first certificate in"),
    ],
)
def test_a_gateway_without_a_usable_pair_does_not_start_and_up_says_why(home, tmp_path, changes, told):
    write_pair(tmp_path, **changes)
    if "name" in changes:
        shutil.copyfile(tmp_path / "other.key", tmp_path / "port.key")
    with pytest.raises(SettingsError, match=told), gateways(1):
        pass
    (home / "cluster.json").unlink()
    up = divisions("up", "--foreground")
    assert up.returncode == 1
    (line,) = up.stderr.splitlines()
    assert line.startswith("error: DIVISIONS_TLS_KEY: the key in ")
    assert told in line
