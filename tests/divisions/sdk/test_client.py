"""The client against a real HTTP server on a free port, and against transports that fail in chosen ways."""

import asyncio
import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import msgspec
import numpy as np
import pandas as pd
import pytest

import divisions
from divisions import AsyncClient, Client, errors
from divisions.control import RolloutSpec, VersionSpec
from divisions.schema import FeatureSchema
from divisions.sdk.client import Prediction
from tests.builders import rollout_status

SPEC = RolloutSpec("churn", VersionSpec("churn-predictor", "3.2", "/b", "0" * 64, FeatureSchema(())))
ANSWER = {
    "customer_id": "c-1",
    "churn_probability": 0.25,
    "model": "churn-predictor",
    "version": "3.2",
    "request_id": "r",
}
PREDICTION = Prediction("churn", 0.25, "churn-predictor", "3.2", "r", "c-1")


class Gateway:
    """A server that gives prepared answers in turn, and records the requests."""

    def __init__(self):
        self.answers = []
        self.requests = []
        gateway = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                gateway.requests.append(
                    (self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body)
                )
                status, headers, reply = gateway.answers.pop(0)
                self.send_response(status)
                for name, value in (*headers, ("content-length", str(len(reply)))):
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(reply)

            do_POST = do_GET

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def will_answer(self, value, status=200, headers=()):
        self.answers.append((status, headers, value if isinstance(value, bytes) else msgspec.json.encode(value)))

    def will_refuse(self, status, detail="no", headers=(), **more):
        self.will_answer(
            {"type": "about:blank", "title": "t", "status": status, "detail": detail, **more}, status, headers
        )


@pytest.fixture
def gateway():
    gateway = Gateway()
    thread = threading.Thread(target=gateway.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield gateway
    gateway.server.shutdown()
    thread.join()
    gateway.server.server_close()


@pytest.fixture
def client(gateway, tmp_path):
    (tmp_path / "token").write_text("secret\n")
    with Client(gateway.url, home=tmp_path) as client:
        yield client


def asked(gateway):
    method, path, headers, body = gateway.requests[-1]
    return method, path, json.loads(body) if body else None, headers


def test_a_prediction_by_customer_id_sends_no_token(client, gateway):
    gateway.will_answer(ANSWER)
    assert client.predict("churn", customer_id="c-1") == PREDICTION
    method, path, body, headers = asked(gateway)
    assert (method, path, body) == ("POST", "/api/v2/predict/churn", {"customer_id": "c-1"})
    assert headers["content-type"] == "application/json"
    assert "authorization" not in headers


def test_features_lose_numpy_types_and_missing_values_become_null(client, gateway):
    gateway.will_answer(ANSWER | {"customer_id": None})
    features = {"a": np.float32(0.5), "b": np.int64(3), "c": np.bool_(True), "d": float("nan"), "e": pd.NA, "f": "x"}
    assert client.predict("churn", features=features).customer_id is None
    sent = {"a": 0.5, "b": 3, "c": True, "d": None, "e": None, "f": "x"}
    assert asked(gateway)[2] == {"features": sent}


def test_many_rows_go_as_instances_in_any_mix(client, gateway):
    gateway.will_answer({"predictions": [{"customer_id": "c-1", "churn_probability": 0.25}] * 4, **ANSWER})
    rows = ["c-1", {"customer_id": "c-2", "a": 1}, {"a": 1}, {"customer_id": "c-3", "features": {"a": None}}]
    assert client.predict("churn", instances=rows) == [PREDICTION] * 4
    assert asked(gateway)[2] == {
        "instances": [
            {"customer_id": "c-1"},
            {"customer_id": "c-2", "features": {"a": 1}},
            {"features": {"a": 1}},
            {"customer_id": "c-3", "features": {"a": None}},
        ]
    }


@pytest.mark.parametrize("customer", [7, 7.0, "7", np.int64(7), np.float64(7.0)])
def test_a_whole_number_is_the_same_customer_as_its_text(client, gateway, customer):
    gateway.will_answer(ANSWER)
    client.predict("churn", customer_id=customer)
    assert asked(gateway)[2] == {"customer_id": "7"}
    gateway.will_answer({"predictions": [ANSWER] * 3, **ANSWER})
    rows = [customer, {"customer_id": customer, "a": 1}, {"customer_id": customer, "features": {"a": 1}}]
    client.predict("churn", instances=rows)
    assert asked(gateway)[2]["instances"] == [{"customer_id": "7"}, *[{"customer_id": "7", "features": {"a": 1}}] * 2]


def test_ids_of_a_data_frame_with_a_gap_are_whole(client, gateway):
    gateway.will_answer({"predictions": [ANSWER] * 2, **ANSWER})
    client.predict("churn", instances=pd.DataFrame({"customer_id": [15634602, None], "a": [1, 2]}))
    rows = [{"customer_id": "15634602", "features": {"a": 1}}, {"features": {"a": 2}}]
    assert asked(gateway)[2] == {"instances": rows}


@pytest.mark.parametrize("customer", [True, 7.5, 2.0**53, np.bool_(True), [7]])
def test_an_id_that_is_no_whole_number_is_refused_by_its_name(client, gateway, customer):
    with pytest.raises(errors.InvalidFeaturesError, match="customer_id"):
        client.predict("churn", customer_id=customer)
    with pytest.raises((errors.InvalidFeaturesError, errors.UsageError)):
        client.predict("churn", instances=[customer])
    assert gateway.requests == []


def test_a_tester_names_a_version_and_shows_the_token(client, gateway):
    gateway.will_answer(ANSWER)
    client.predict("churn", customer_id="c-1", version="3.2")
    gateway.will_answer({"predictions": [ANSWER], **ANSWER})
    client.predict("churn", instances=["c-1"], version="3.2")
    for _, _, headers, _ in gateway.requests:
        assert (headers["x-divisions-version"], headers["authorization"]) == ("3.2", "Bearer secret")
    gateway.will_answer(ANSWER)
    client.predict("churn", customer_id="c-1")
    assert not {"x-divisions-version", "authorization"} & set(asked(gateway)[3])


@pytest.mark.parametrize(("told", "expected"), [({}, (None, "")), ({"features_as_of": "2025"}, ("2025", ""))])
def test_a_prediction_says_how_old_its_features_are(client, gateway, told, expected):
    gateway.will_answer(ANSWER | told)
    found = client.predict("churn", customer_id="c-1")
    assert (found.features_as_of, found.features_status) == expected
    gateway.will_answer({"predictions": [ANSWER | told | {"features_status": "stale"}], **ANSWER})
    (found,) = client.predict("churn", instances=["c-1"])
    assert (found.features_as_of, found.features_status) == (expected[0], "stale")


def test_an_array_in_a_feature_is_refused_by_its_name(client):
    with pytest.raises(errors.InvalidFeaturesError, match="feature 'a' is a ndarray"):
        client.predict("churn", features={"a": np.array([1, 2])})


def test_a_data_frame_goes_as_instances(client, gateway):
    gateway.will_answer({"predictions": [ANSWER, ANSWER]})
    frame = pd.DataFrame(
        {"customer_id": ["c-1", "c-2"], "a": [1.0, None], "b": pd.Series([True, pd.NA], dtype="boolean")}
    )
    assert client.predict("churn", instances=frame) == [PREDICTION, PREDICTION]
    assert asked(gateway)[2] == {
        "instances": [
            {"customer_id": "c-1", "features": {"a": 1.0, "b": True}},
            {"customer_id": "c-2", "features": {"a": None, "b": None}},
        ]
    }


def test_the_entity_may_have_another_name(gateway, tmp_path):
    gateway.will_answer({"account": "a-1", "churn_probability": 1})
    with Client(gateway.url, home=tmp_path, entity="account") as client:
        assert client.predict("churn", customer_id="a-1").customer_id == "a-1"
    assert asked(gateway)[2] == {"account": "a-1"}


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"instances": [{}], "customer_id": "c-1"},
        {"instances": "c-1"},
        {"instances": {"a": 1}},
        {"instances": 5},
        {"instances": [None]},
        {"instances": [["c-1"]]},
    ],
)
def test_arguments_without_a_request_are_usage_errors(client, gateway, arguments):
    with pytest.raises(errors.UsageError):
        client.predict("churn", **arguments)
    assert gateway.requests == []


@pytest.mark.parametrize("value", [float("inf"), object(), b"x", [1], "\ud800"])
def test_values_that_json_cannot_represent_are_not_sent(client, gateway, value):
    with pytest.raises(errors.InvalidFeaturesError):
        client.predict("churn", features={"a": value})
    assert gateway.requests == []


@pytest.mark.parametrize("endpoint", ["", "../status", "a/b", "Churn", "a?b", "a" * 65])
def test_endpoints_cannot_escape_their_path(client, gateway, endpoint):
    with pytest.raises(errors.UsageError):
        client.predict(endpoint, customer_id="c-1")
    with pytest.raises(errors.UsageError):
        client.rollout(endpoint).abort()
    assert gateway.requests == []


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, errors.MalformedRequestError),
        (404, errors.UnknownEntityError),
        (413, errors.RequestError),
        (422, errors.InvalidFeaturesError),
        (502, errors.ReplicaFailedError),
        (503, errors.OverloadedError),
        (504, errors.DeadlineExceededError),
    ],
)
def test_problems_of_predictions_become_request_errors(client, gateway, status, kind):
    gateway.will_refuse(status, "what was wrong")
    with pytest.raises(errors.RequestError, match="what was wrong") as caught:
        client.predict("churn", customer_id="c-1")
    assert type(caught.value) is kind


def test_a_shed_request_says_when_to_try_again(client, gateway):
    gateway.will_refuse(503, headers=[("retry-after", "7")])
    with pytest.raises(errors.OverloadedError) as caught:
        client.predict("churn", customer_id="c-1")
    assert caught.value.retry_after_s == 7


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, errors.AccessDeniedError),
        (403, errors.AccessDeniedError),
        (404, errors.UnknownVersionError),
        (409, errors.ConflictError),
        (412, errors.StaleGenerationError),
        (422, errors.RolloutError),
        (500, errors.ClusterError),
        (503, errors.NotRunningError),
    ],
)
def test_problems_of_control_become_their_errors(client, gateway, status, kind):
    gateway.will_refuse(status, "what was wrong")
    with pytest.raises(kind, match="what was wrong") as caught:
        client.rollout("churn").pause()
    assert type(caught.value) is kind


def test_a_problem_that_names_its_class_becomes_that_class(client, gateway):
    gateway.will_refuse(409, code="LatchedSpecError")
    with pytest.raises(errors.LatchedSpecError):
        client.start_rollout(SPEC)
    gateway.will_refuse(409, code="SystemExit")
    with pytest.raises(errors.ConflictError):
        client.start_rollout(SPEC)


@pytest.mark.parametrize(
    "reply", [b"", b"<html>", b"[]", b'{"churn_probability": "high"}', b'{"x": 1}', b"\xff", b'{"\xff": 1}']
)
def test_an_answer_of_another_form_is_a_cluster_error(client, gateway, reply):
    gateway.will_answer(reply)
    with pytest.raises(errors.ClusterError, match="cannot be understood"):
        client.predict("churn", customer_id="c-1")
    gateway.will_answer(reply, status=500)
    with pytest.raises(errors.ClusterError, match="no explanation"):
        client.predict("churn", customer_id="c-1")


def test_rollout_calls_carry_the_token(client, gateway):
    status = rollout_status()
    gateway.will_answer({"rollouts": [status]})
    assert client.rollouts() == (status,)
    gateway.will_answer(status)
    assert client.rollout("churn").status() == status
    assert asked(gateway)[:2] == ("GET", "/api/v2/rollouts/churn")
    for action in ("pause", "resume", "promote", "abort"):
        gateway.will_answer(status, 202)
        assert getattr(client.rollout("churn"), action)(generation=4) == status
        method, path, _, headers = asked(gateway)
        assert (method, path) == ("POST", f"/api/v2/rollouts/churn/{action}")
        assert headers["if-match"] == "4"
        assert headers["authorization"] == "Bearer secret"
    gateway.will_answer(status)
    client.rollout("churn").rollback("3.1")
    assert asked(gateway)[1:3] == ("/api/v2/rollouts/churn/rollback", {"to": "3.1"})
    assert "if-match" not in asked(gateway)[3]
    gateway.will_answer(status)
    assert client.rollout("churn").scale(4, version="3.2", force=True, generation=4) == status
    body = {"replicas": 4, "version": "3.2", "force": True}
    assert asked(gateway)[:3] == ("POST", "/api/v2/rollouts/churn/scale", body)


def test_a_rollout_is_started_from_its_spec(client, gateway):
    gateway.will_answer(rollout_status(), 202)
    client.start_rollout(SPEC, force=True)
    assert asked(gateway)[1] == "/api/v2/rollouts?force=1"
    assert msgspec.json.decode(gateway.requests[-1][3], type=RolloutSpec) == SPEC


def test_status_has_epoch_replicas_and_rollouts(client, gateway):
    gateway.will_answer({"gateway": {"pid": 1}, "epoch": 7, "replicas": [], "rollouts": [rollout_status()]})
    status = client.status()
    assert (status.epoch, status.gateway, status.rollouts) == (7, {"pid": 1}, (rollout_status(),))


def test_watch_yields_changes_until_the_end_and_survives_a_restart_of_the_controller(client, gateway):
    for phase, weight_bp in (("STEP", 2_000), ("STEP", 2_000), ("BAKE", 9_700)):
        gateway.will_answer(rollout_status(phase=phase, actual_weight_bp=weight_bp))
    gateway.will_refuse(503)
    gateway.will_answer(rollout_status(phase="PROMOTED", actual_weight_bp=10_000))
    phases = [status.phase for status in client.rollout("churn").watch(poll_s=0)]
    assert phases == ["STEP", "BAKE", "PROMOTED"]
    assert gateway.answers == []


def test_watch_gives_up_when_patience_ends(client, gateway):
    gateway.will_answer(rollout_status())
    for _ in range(3):
        gateway.will_refuse(503)
    with pytest.raises(errors.NotRunningError):
        list(client.rollout("churn").watch(poll_s=0, patience=2))
    assert gateway.answers == []


def test_watch_fails_at_once_when_there_is_nothing_to_watch(client, gateway):
    gateway.will_refuse(404, "no rollout")
    with pytest.raises(errors.UnknownVersionError):
        list(client.rollout("churn").watch(poll_s=0))


def test_a_refused_connection_is_not_running(gateway):
    gateway.server.server_close()
    with Client(gateway.url) as client, pytest.raises(errors.NotRunningError, match="divisions up"):
        client.predict("churn", customer_id="c-1")


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
