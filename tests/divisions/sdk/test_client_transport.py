"""How the client reaches a gateway, what it tells it, and against transports that fail in chosen ways."""

import asyncio
import subprocess
import sys

import httpx
import pytest

import divisions
from divisions import AsyncClient, Client, errors
from tests.builders import rollout_status
from tests.divisions.sdk.fake_gateway import ANSWER, PREDICTION, SPEC, asked


def test_a_refused_connection_is_not_running(gateway):
    gateway.server.server_close()
    with Client(gateway.url) as client, pytest.raises(errors.NotRunningError, match="divisions up"):
        client.predict("churn", customer_id="c-1")


def test_what_does_not_answer_here_is_told_with_the_home_and_what_is_elsewhere_without(tmp_path):
    def fail(_):
        raise httpx.ConnectError("x")

    remedies = []
    for url in ("http://127.0.0.1:8000", "http://models.example:8000"):
        with Client(url, home=tmp_path, transport=httpx.MockTransport(fail)) as client:
            with pytest.raises(errors.NotRunningError) as caught:
                client.predict("churn", customer_id="c-1")
            remedies.append(caught.value.remedy)
    assert [str(tmp_path) in remedy for remedy in remedies] == [True, False]
    assert all("divisions up" in remedy for remedy in remedies)


def test_without_a_url_it_asks_the_gateway_that_commands_ask(tmp_path, monkeypatch):
    monkeypatch.setenv("DIVISIONS_PORT", "8123")
    assert Client(home=tmp_path)._peer.base_url == "http://127.0.0.1:8123"
    (tmp_path / "cluster.json").write_text('{"gateway_url": "https://gateway.example:8443"}')
    monkeypatch.setenv("DIVISIONS_HOME", str(tmp_path))
    assert Client()._peer.base_url == "https://gateway.example:8443"
    assert AsyncClient(home=str(tmp_path))._peer.base_url == "https://gateway.example:8443"
    monkeypatch.setenv("DIVISIONS_GATEWAY", "http://models.example:80")
    assert Client(home=tmp_path)._peer.base_url == "http://models.example:80"


def test_a_wrong_port_is_told_with_the_gateway_of_the_home(tmp_path):
    def fail(_):
        raise httpx.ConnectError("x")

    (tmp_path / "cluster.json").write_text('{"gateway_url": "http://127.0.0.1:8123"}')
    client = Client("http://127.0.0.1:8000", home=tmp_path, transport=httpx.MockTransport(fail))
    with client, pytest.raises(errors.NotRunningError) as caught:
        client.status()
    assert (
        caught.value.remedy
        == f"the gateway of the home {tmp_path} is http://127.0.0.1:8123: ask that, or check the address"
    )


@pytest.mark.parametrize("timeout_s", [0, -1, float("nan")])
@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_a_timeout_that_is_none_is_a_usage_error(kind, timeout_s):
    with pytest.raises(errors.UsageError, match="timeout_s must be above 0"):
        kind(timeout_s=timeout_s)


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (httpx.ConnectError("x"), errors.NotRunningError),
        (httpx.ConnectTimeout("x"), errors.NotRunningError),
        (httpx.ReadTimeout("x"), errors.DeadlineExceededError),
        (httpx.RemoteProtocolError("x"), errors.ClusterError),
    ],
)
def test_failures_of_the_transport_are_our_errors(failure, kind):
    def fail(_):
        raise failure

    with Client(transport=httpx.MockTransport(fail)) as client, pytest.raises(kind):
        client.predict("churn", customer_id="c-1")


@pytest.mark.parametrize("url", ["", "churn", "ftp://127.0.0.1", "http://", "127.0.0.1:8000"])
def test_an_invalid_url_is_a_usage_error(url):
    with pytest.raises(errors.UsageError):
        Client(url)


def token_sent(url, **arguments):
    sent = []

    def reply(request):
        sent.append(request.headers.get("authorization"))
        return httpx.Response(200, json={"rollouts": []})

    with Client(url, transport=httpx.MockTransport(reply), **arguments) as client:
        client.rollouts()
    return sent[0]


def test_the_token_of_this_machine_is_sent_to_this_machine_only(tmp_path):
    assert token_sent("http://127.0.0.1:1", home=tmp_path) is None
    (tmp_path / "token").write_text("secret\n")
    for url in ("http://127.0.0.1:1", "http://localhost", "http://[::1]:8000"):
        assert token_sent(url, home=tmp_path) == "Bearer secret"
    for url in ("http://10.0.0.1", "http://localhost.example", "http://127.0.0.1.example", "https://example.com"):
        assert token_sent(url, home=tmp_path) is None
        assert token_sent(url, home=tmp_path, token="given") == "Bearer given"


def test_a_gateway_elsewhere_gets_a_token_only_if_it_is_named_as_ours(tmp_path, monkeypatch):
    url = "http://10.0.0.1:8000"
    (tmp_path / "token").write_text("kept")
    (tmp_path / "cluster.json").write_text(f'{{"gateway_url": "{url}"}}')
    assert token_sent(url, home=tmp_path) == "Bearer kept"
    (tmp_path / "cluster.json").write_text("[]")
    assert token_sent(url, home=tmp_path) is None
    monkeypatch.setenv("DIVISIONS_TOKEN", "given")
    assert token_sent(url, home=tmp_path) is None
    monkeypatch.setenv("DIVISIONS_GATEWAY", url)
    assert token_sent(url, home=tmp_path) == "Bearer given"
    assert token_sent("http://10.0.0.2:8000", home=tmp_path) is None
    monkeypatch.delenv("DIVISIONS_TOKEN")
    assert token_sent(url, home=tmp_path) == "Bearer kept"


def test_a_token_cannot_smuggle_headers():
    with pytest.raises(errors.AccessDeniedError):
        token_sent("http://example.com", token="a\r\nx-admin: 1")


def test_the_async_client_sends_the_same(gateway, tmp_path):
    (tmp_path / "token").write_text("secret")
    gateway.will_answer(ANSWER)
    gateway.will_answer({"predictions": [ANSWER]})
    gateway.will_answer({"epoch": 7})
    gateway.will_answer({"rollouts": []})
    gateway.will_answer(rollout_status(), 202)
    for phase in ("STEP", "STEP"):
        gateway.will_answer(rollout_status(phase=phase))
    gateway.will_refuse(503)
    gateway.will_answer(rollout_status(phase="ROLLED_BACK", actual_weight_bp=0))
    gateway.will_refuse(409, "somebody was first")
    gateway.will_answer(rollout_status(phase="PROMOTED"))

    async def talk():
        async with AsyncClient(gateway.url, home=tmp_path) as client:
            assert await client.predict("churn", customer_id="c-1") == PREDICTION
            assert await client.predict("churn", instances=["c-1"]) == [PREDICTION]
            assert (await client.status()).epoch == 7
            assert await client.rollouts() == ()
            await client.start_rollout(SPEC)
            rollout = client.rollout("churn")
            assert [status.phase async for status in rollout.watch(poll_s=0)] == ["STEP", "ROLLED_BACK"]
            with pytest.raises(errors.ConflictError, match="somebody was first"):
                await rollout.rollback(generation=1)
            assert (await rollout.scale(4)).phase == "PROMOTED"

    asyncio.run(talk())
    assert asked(gateway)[3]["authorization"] == "Bearer secret"
    assert gateway.answers == []


def test_a_refused_connection_is_not_running_for_asyncio_too(gateway):
    gateway.server.server_close()

    async def talk():
        async with AsyncClient(gateway.url) as client:
            await client.predict("churn", customer_id="c-1")

    with pytest.raises(errors.NotRunningError):
        asyncio.run(talk())


def test_importing_the_package_imports_no_client_and_the_client_no_http_library():
    code = (
        "import sys, divisions; assert 'divisions.sdk.client' not in sys.modules;"
        "import divisions.sdk.client; assert not {'httpx', 'asyncio', 'pandas', 'numpy', 'ray'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_unknown_attribute_of_the_package_is_an_attribute_error():
    assert divisions.Client is Client
    with pytest.raises(AttributeError):
        divisions.Nothing  # noqa: B018 - looking it up is the test


@pytest.mark.parametrize(("url", "uses_proxy"), [("http://127.0.0.1:8000", False), ("http://gateway.example", True)])
@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_a_proxy_of_the_environment_never_sees_what_is_meant_for_this_machine(monkeypatch, kind, url, uses_proxy):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    client = kind(url)
    assert client._http.trust_env is uses_proxy
