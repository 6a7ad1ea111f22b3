"""A cluster with a company's certificate: commands, both clients, a browser, and a renewal under traffic."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import re
import shlex
import shutil
import socket
import ssl
import subprocess
import threading

import httpx
import pytest
from cryptography import x509

from divisions import AsyncClient, Client
from divisions.errors import ClusterError
from tests.e2e.browser import open_browser
from tests.e2e.guarded.conftest import LONGEST_S, NAMES, Guarded, until
from tests.port_certificates import write_pair

pytestmark = pytest.mark.e2e

ROW = {"customer_id": "c-1"}
LEAST = 20
"""Requests before and after each change."""
CONNECTIONS = 20
"""So many new ones meet both gateways, but in one case of 500,000."""


def test_commands_and_both_clients_know_the_gateway_by_its_authority(guarded):
    outside = guarded.outside("other")
    by_authority = ("--ca", str(guarded.authority.path))
    stranger = outside.run("status")
    assert stranger.returncode == 1
    assert f"the certificate of {guarded.named_url} is not trusted: " in stranger.stderr
    for arguments in (("status",), ("rollout", "status", "churn")):
        told = outside.run(*by_authority, *arguments)
        assert told.returncode == 0, told.stderr
    predicted = outside.run("predict", "churn", "--json", '{"customer_id": "c-1"}', DIVISIONS_TLS_CA=by_authority[1])
    assert predicted.returncode == 0, predicted.stderr

    # It has the right authority, and another name.
    unnamed = outside.run(*by_authority, "status", DIVISIONS_GATEWAY=guarded.url)
    assert unnamed.returncode == 1
    assert "certificate is not valid for '127.0.0.1'" in unnamed.stderr
    assert "ask it by a name that its certificate has" in unnamed.stderr

    with Client(guarded.named_url, token=guarded.token, ca=guarded.authority.path) as client:
        assert 0.0 < client.predict("churn", **ROW).probability < 1.0
        assert client.status().rollouts[0].endpoint == "churn"
    with pytest.raises(ClusterError, match="is not trusted"), Client(guarded.named_url) as client:
        client.predict("churn", **ROW)

    async def ask() -> float:
        async with AsyncClient(guarded.named_url, token=guarded.token, ca=guarded.authority.path) as client:
            await client.rollout("churn").status()
            return (await client.predict("churn", **ROW)).probability

    assert 0.0 < asyncio.run(ask()) < 1.0


def test_the_line_that_up_prints_can_be_pasted(guarded):
    if shutil.which("curl") is None:
        pytest.skip("needs curl")
    (line, *_) = re.findall(r"^ +(curl .*)$", guarded.greeting, re.MULTILINE)
    done = subprocess.run(shlex.split(line), capture_output=True, text=True, timeout=LONGEST_S, check=False)
    assert '"churn_probability"' in done.stdout, (line, done.stderr)


def test_a_browser_that_trusts_the_authority_shows_the_page_and_asks_for_tls_from_then_on(guarded):
    address = f"{NAMES[0]}:{guarded.port}"
    rule = f"--host-resolver-rules=MAP {NAMES[0]} 127.0.0.1"
    with open_browser(rule, trusts=guarded.authority.path) as browser:
        browser.open(f"https://{address}/#token={guarded.token}")
        browser.wait_for_text("body", "churn-predictor")
        assert browser.run("return window.isSecureContext")
        assert browser.log() == []
        assert browser.run("return (await fetch('/api/v2/house')).status") == 401  # no cookie carries the token
        browser.open(f"http://{address}/healthz")  # which nobody answers: the browser itself writes https
        browser.wait_for_text("body", "ok")
        assert browser.driver.current_url == f"https://{address}/healthz"


def _served(cluster: Guarded) -> set[int]:
    """The serial numbers that new connections meet."""
    context = ssl.create_default_context(cafile=str(cluster.authority.path))
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    found = set()
    for _ in range(CONNECTIONS):
        connection = socket.create_connection(("127.0.0.1", cluster.port), timeout=LONGEST_S)
        with context.wrap_socket(connection) as channel:
            found.add(x509.load_der_x509_certificate(channel.getpeercert(binary_form=True)).serial_number)
    return found


def _on_disk(cluster: Guarded) -> int:
    return x509.load_pem_x509_certificate(cluster.certificate.read_bytes()).serial_number


def _log(cluster: Guarded) -> str:
    return "".join(path.read_text() for path in (cluster.home.path / "logs").glob("gateway*.jsonl"))


@contextlib.contextmanager
def _traffic(cluster: Guarded):
    """Predictions on kept connections and on new ones. None may fail."""
    trusted = ssl.create_default_context(cafile=str(cluster.authority.path))
    url = f"{cluster.named_url}/api/v2/predict/churn"
    answers: collections.Counter[str] = collections.Counter()
    failures: list[str] = []
    is_over = threading.Event()

    def call(kind: str) -> None:
        with httpx.Client(verify=trusted, timeout=LONGEST_S) as kept:
            while not is_over.is_set():
                try:
                    if kind == "kept":
                        kept.post(url, json=ROW).raise_for_status()
                    else:
                        httpx.post(url, json=ROW, verify=trusted, timeout=LONGEST_S).raise_for_status()
                    answers[kind] += 1
                except httpx.HTTPError as error:
                    failures.append(f"{kind}: {error!r}")
                    return

    def go_on() -> None:
        start = dict(answers)
        until(
            lambda: bool(failures) or all(answers[kind] > start.get(kind, 0) + LEAST for kind in ("kept", "new")),
            "requests are not answered",
        )
        assert not failures

    callers = [threading.Thread(target=call, args=(kind,), daemon=True) for kind in ("kept", "kept", "new")]
    for caller in callers:
        caller.start()
    try:
        go_on()
        yield go_on
        go_on()
    finally:
        is_over.set()
        for caller in callers:
            caller.join(LONGEST_S)
    assert not failures


def test_a_renewal_costs_no_request_and_a_pair_that_cannot_be_used_changes_nothing(guarded, tmp_path):
    with _traffic(guarded) as go_on:
        first = _on_disk(guarded)
        assert _served(guarded) == {first}
        guarded.renew()
        second = _on_disk(guarded)
        until(lambda: _served(guarded) == {second}, "the new certificate was not taken")
        go_on()

        _, other = write_pair(tmp_path, "other")
        shutil.copyfile(other, guarded.key)
        wrong = f"the key in {guarded.key} does not belong to the first certificate in {guarded.certificate}"
        until(lambda: _log(guarded).count(wrong) >= 2, "the wrong key was not told by both gateways")
        assert _served(guarded) == {second}
        guarded.renew(begins=-9, ends=-2)
        until(
            lambda: _log(guarded).count(f"the certificate in {guarded.certificate} has expired") >= 2,
            "the expired certificate was not told by both gateways",
        )
        assert _served(guarded) == {second}
        go_on()

        guarded.renew()
        until(lambda: _served(guarded) == {_on_disk(guarded)}, "the good certificate was not taken")
        assert _log(guarded).count(wrong) == 2  # each has told it once
    assert guarded.home.run("status").returncode == 0  # the home knows what is served now
