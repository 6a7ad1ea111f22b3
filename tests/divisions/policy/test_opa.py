"""Servers that do not answer as they should: each is a refusal."""

from __future__ import annotations

import contextlib
import json
import socket
import threading

import pytest

from divisions.policy.engine import ENGINE_RULE
from divisions.policy.opa import MOST_BYTES, OpaEngine
from tests.divisions.policy.opa_library import reply, server
from tests.divisions.policy.questions import MATRIX

QUERY = MATRIX[0]
YES = {"allow": True, "reasons": [], "policy_digest": "ab"}


def _asked(answer, limit_s=10.0):
    with server(answer) as url, contextlib.closing(OpaEngine(url, limit_s)) as engine:
        return engine.decide(QUERY)


def test_a_clear_yes_is_one():
    decision = _asked(lambda handler, _: reply(handler, json.dumps({"result": YES}).encode()))
    assert decision.allow
    assert decision.policy_digest == "ab"


@pytest.mark.parametrize(
    "body",
    [
        b"{}",  # an undefined document
        b"",
        b"true",
        b"[]",
        b'{"result": true}',
        b'{"result": {"allow": "true", "reasons": []}}',
        b'{"result": {"allow": 1, "reasons": []}}',
        b'{"result": {"reasons": []}}',
        b'{"result": {"allow": true}}',
        b'{"result": {"allow": true, "reasons": [{"rule": "drift"}]}}',
        b'{"result": {"allow": true, "reas',
        b"[" * 100_000,
        b"\xff\xfe",
        b" " * (MOST_BYTES + 1) + json.dumps({"result": YES}).encode(),
    ],
    ids=lambda body: repr(body[:45]),
)
def test_anything_else_is_a_refusal(body):
    decision = _asked(lambda handler, _: reply(handler, body))
    assert not decision.allow
    assert decision.reasons


@pytest.mark.parametrize("status", [201, 204, 301, 307, 400, 401, 404, 500, 503])
def test_another_status_is_a_refusal_whatever_the_body_says(status):
    body = b"" if status == 204 else json.dumps({"result": YES}).encode()
    decision = _asked(lambda handler, _: reply(handler, body, status))
    assert not decision.allow
    assert decision.reasons[0].rule == ENGINE_RULE


def test_a_server_that_cuts_off_is_a_refusal():
    def answer(handler, _):
        handler.send_response(200)
        handler.send_header("content-length", "1000")
        handler.end_headers()
        handler.wfile.write(b'{"result": {"allow": true, "reasons": []}}')
        handler.close_connection = True

    assert not _asked(answer).allow


def test_a_server_that_is_silent_or_drips_is_given_up():
    ended = threading.Event()

    def silent(*_):
        ended.wait(60)

    def drips(handler, _):
        handler.send_response(200)
        handler.send_header("content-length", "100000")
        handler.end_headers()
        while not ended.wait(0.01):
            handler.wfile.write(b" ")

    try:
        for answer in (silent, drips):
            decision = _asked(answer, limit_s=0.2)
            assert not decision.allow
            assert decision.reasons[0].rule == ENGINE_RULE
    finally:
        ended.set()


def test_a_server_that_is_down_is_a_refusal():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, and nobody listens
        with contextlib.closing(OpaEngine(f"http://127.0.0.1:{taken.getsockname()[1]}")) as engine:
            decision = engine.decide(QUERY)
    assert not decision.allow
    assert "DIVISIONS_OPA_URL" in decision.text
