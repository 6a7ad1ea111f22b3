"""One request to a real server that answers, hangs, drips, closes, dies or redirects; and the URL stays a secret."""

from __future__ import annotations

import json
import logging
import ssl

import pytest

from benchmarks.harness.certificates import new_pair
from divisions import cli
from divisions.clock import SystemClock
from divisions.errors import SettingsError
from divisions.notice import Notice, Topic
from divisions.notify.notifier import notifier_of
from divisions.notify.payload import Kind
from divisions.notify.retry import Reply
from divisions.notify.webhook import Webhook
from divisions.settings import load_settings
from tests.divisions.notify.webhook_server import WebhookServer, ok

NOTICE = Notice("k", Topic.HELD, "churn", "it waits", 0.0)
SECRET = "T0-SECRET"


@pytest.fixture
def server():
    server = WebhookServer()
    yield server
    server.end()


def file_of(folder, url):
    path = folder / "webhook"
    path.write_text(f"{url}\n")
    path.chmod(0o600)
    return path


def webhook(folder, port, answer_s=30.0, scheme="http"):
    path = file_of(folder, f"{scheme}://127.0.0.1:{port}/services/{SECRET}?a=b")
    return Webhook(path, Kind.SLACK, lambda: 0.0, answer_s)


def test_a_request_has_the_json_and_no_proxy_or_log_sees_it(server, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    caplog.set_level(logging.DEBUG)
    assert webhook(tmp_path, server.port).send(NOTICE) == Reply(200)
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(f"POST /services/{SECRET}?a=b HTTP/1.1\r\n".encode())
    assert json.loads(body) == {"text": "churn: held: it waits\n(k)"}
    assert SECRET not in caplog.text


@pytest.mark.parametrize(
    ("todo", "reply"),
    [
        (ok("500 No"), Reply(500, None, "127.0.0.1 answered 500")),
        (ok("429 Slow", "Retry-After: 7\r\n"), Reply(429, 7.0, "127.0.0.1 answered 429")),
        (ok("307 There", "Location: http://127.0.0.1:9/x\r\n"), Reply(307, None, "127.0.0.1 answered 307")),
        (b"SSH-2.0\r\n\r\n", Reply(0, None, "127.0.0.1: it does not answer as HTTP (BadStatusLine)")),
        ("die", Reply(0, None, "127.0.0.1: it does not answer as HTTP (BadStatusLine)")),
    ],
)
def test_what_a_server_answers_is_told_by_its_host(server, tmp_path, todo, reply):
    server.script = [todo]
    assert webhook(tmp_path, server.port).send(NOTICE) == reply
    assert len(server.requests) == 1


@pytest.mark.parametrize("todo", ["hang", "drip"])
def test_a_request_ends_in_time_also_if_bytes_come_now_and_then(server, tmp_path, todo):
    server.script = [todo]
    assert webhook(tmp_path, server.port, 0.2).send(NOTICE) == Reply(0, None, "127.0.0.1: no answer in time")


def test_a_server_that_closes_or_is_away_is_a_fault_for_later(server, tmp_path):
    server.script = ["close"]
    reply = webhook(tmp_path, server.port).send(NOTICE)
    assert (reply.status, reply.fault.startswith("127.0.0.1: ")) == (0, True)
    server.end()
    assert webhook(tmp_path, server.port).send(NOTICE) == Reply(0, None, "127.0.0.1: Connection refused")


@pytest.mark.parametrize(
    "url",
    ["", "ftp://h/x", "https://", f"https://h:99999/{SECRET}", f"https://u:{SECRET}@h/", f"https://h/{SECRET}é", "h/x"],
)
def test_a_file_without_a_url_is_told_by_the_settings_name(tmp_path, url):
    hook = Webhook(file_of(tmp_path, url), Kind.SLACK, lambda: 0.0)
    with pytest.raises(SettingsError, match="DIVISIONS_WEBHOOK_FILE") as caught:
        hook.host()
    assert SECRET not in str(caught.value)
    reply = hook.send(NOTICE)
    assert (reply.status, reply.is_final, SECRET in reply.fault) == (0, False, False)


def test_a_file_that_is_missing_or_no_text_is_told_too(tmp_path):
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    for name in ("binary", "missing", "."):
        assert "DIVISIONS_WEBHOOK_FILE" in Webhook(tmp_path / name, Kind.SLACK, lambda: 0.0).send(NOTICE).fault


def test_a_file_that_others_can_read_is_told_and_no_reason_to_keep_a_message_back(
    server, tmp_path, monkeypatch, capsys, caplog
):
    path = file_of(tmp_path, f"http://127.0.0.1:{server.port}/services/{SECRET}")
    path.chmod(0o644)
    monkeypatch.setenv("DIVISIONS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DIVISIONS_WEBHOOK_FILE", str(path))
    for command in (["notify", "test"], ["up"]):
        assert cli.execute(command) == 1
        error = capsys.readouterr().err
        assert f"DIVISIONS_WEBHOOK_FILE: others can read or change {path} (mode 0644). chmod 600 {path}" in error
    assert not server.requests
    notifier = notifier_of(load_settings(), SystemClock(), "controller")
    assert "others can read or change" in caplog.text
    notifier.tell(Notice("k", Topic.HELD, "churn", "it waits", SystemClock().wall_s()))
    notifier.step()
    assert notifier.counts().sent == 1
    path.chmod(0o640)
    assert cli.execute(["notify", "test"]) == 0, "its group may"


def test_up_says_that_the_file_is_missing_before_it_starts_anything(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DIVISIONS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DIVISIONS_WEBHOOK_FILE", str(tmp_path / "absent"))
    assert cli.execute(["up"]) == 1
    assert f"{tmp_path / 'absent'} of DIVISIONS_WEBHOOK_FILE cannot be read" in capsys.readouterr().err
    assert not (tmp_path / "home").exists()


def test_a_certificate_is_verified(tmp_path, monkeypatch):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(self_signed(tmp_path / "server.pem"))
    server = WebhookServer(context)
    hook = webhook(tmp_path, server.port, scheme="https")
    try:
        reply = hook.send(NOTICE)
        assert reply.status == 0
        assert reply.fault.startswith("127.0.0.1: its certificate is not trusted: ")
        assert server.requests == []
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "server.pem"))
        assert hook.send(NOTICE) == Reply(200)
    finally:
        server.end()


def test_the_command_says_what_came_back(server, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DIVISIONS_HOME", str(tmp_path))
    assert cli.execute(["notify", "test"]) == 1
    assert "DIVISIONS_WEBHOOK_FILE is not set" in capsys.readouterr().err
    monkeypatch.setenv("DIVISIONS_WEBHOOK_KIND", "alertmanager")
    monkeypatch.setenv(
        "DIVISIONS_WEBHOOK_FILE", str(file_of(tmp_path, f"http://127.0.0.1:{server.port}/services/{SECRET}"))
    )
    server.script = [ok(), ok("403 Forbidden")]
    assert cli.execute(["notify", "test"]) == 0
    assert capsys.readouterr().out == "127.0.0.1 took the test message as alertmanager (200)\n"
    assert cli.execute(["notify", "test"]) == 1
    error = capsys.readouterr().err
    assert "the test message did not arrive: 127.0.0.1 answered 403" in error
    assert SECRET not in error


@pytest.mark.parametrize(
    ("name", "text"),
    [("FILE", f"https://h/{SECRET}"), ("KIND", "teams"), ("KIND", "slack,slack"), ("EVENTS", "held,x")],
)
def test_settings_that_are_wrong_are_named(monkeypatch, capsys, name, text):
    monkeypatch.setenv(f"DIVISIONS_WEBHOOK_{name}", text)
    assert cli.execute(["notify", "test"]) == 1
    error = capsys.readouterr().err
    assert f"DIVISIONS_WEBHOOK_{name}" in error
    assert SECRET not in error


def self_signed(path):
    pair = new_pair("webhook", ("127.0.0.1",), is_authority=True)
    path.write_bytes(pair.key_pem() + pair.certificate_pem)
    return path
