"""Heads, ids, keys and deadlines of both protocols at their limits, without sockets: handlers over a dispatcher."""

from __future__ import annotations

import json
import math

import msgspec
import pytest

from divisions.entity_ids import MAX_ID_CHARACTERS
from divisions.errors import InvalidFeaturesError, MalformedRequestError, OverloadedError
from router.gateway.key_ring import KeyRing
from router.gateway.token_book import TokenBook
from router.http.request import Handler
from router.oip.infer import InferHandler, _key, _timeout_s, is_infer
from router.oip.models import Directory
from router.predict.callers import Callers
from router.predict.front import Options, Refusals
from router.predict.predict_handler import PredictHandler
from router.predict.stored_features import StoredFeatures
from tests.router.dispatch_world import DispatchWorld, settle
from tests.router.http.wire import connect

ROW = {"customer_id": "c-1", "features": {"minutes": 7.0}}
INFER = {"inputs": [{"name": "minutes", "shape": [2], "datatype": "FP32", "data": [1.0, 2.0]}]}


class Both:
    """One connection to the predict handler and one to the infer handler, over one dispatcher."""

    def __init__(self, timeout_s: float = 1.0, **kinds) -> None:
        self.world = DispatchWorld(**kinds)
        self.refusals = Refusals(lambda: self.world.now_s)
        dispatcher = self.world.dispatcher

        def no_store(endpoint):
            raise AssertionError("nothing is looked up")

        stored, refusals = StoredFeatures(no_store), self.refusals

        def now_s() -> float:
            return self.world.now_s

        callers = Callers(KeyRing(TokenBook("secret", now_s), None), now_s)
        self.predict = PredictHandler(dispatcher, stored, timeout_s, "gw-", now_s, now_s, callers, refusals)
        self.infer = InferHandler(
            dispatcher, Directory(dispatcher), stored, timeout_s, "gw-", now_s, now_s, callers, refusals
        )

    async def ask(self, body: object, *headers: str, path: str = "/api/v2/predict/churn", run_s: float = 0.02):
        """Status, headers and JSON of the reply; None if none came in that time."""
        handler = self.infer if path.startswith("/v2") else self.predict
        _, connection, transport = connect(handler, lambda: self.world.now_s)
        data = body if isinstance(body, bytes) else msgspec.json.encode(body)
        lines = [f"POST {path} HTTP/1.1", "Host: a", f"Content-Length: {len(data)}", *headers, "", ""]
        connection.data_received("\r\n".join(lines).encode() + data)
        await self.world.run(run_s)
        if not transport.written:
            return None
        head, _, document = transport.written.partition(b"\r\n\r\n")
        fields = dict(line.decode().split(": ", 1) for line in head.split(b"\r\n")[1:])
        return transport.statuses[0], fields, json.loads(document)


@pytest.mark.parametrize(
    ("value", "seconds"), [("1", 0.001), ("250", 0.25), ("1000", 1.0), ("5000", 1.0), ("999999999", 1.0)]
)
def test_a_caller_may_shorten_its_deadline(run, value, seconds):
    async def scenario():
        it = Both(stable_s=(math.inf,))
        await settle()
        await it.ask(ROW, f"x-request-timeout-ms: {value}", run_s=0.0)
        (channel,) = it.world.endpoint.stable.channels.values()
        ((job,),) = [batch.jobs for batch in channel.in_flight.values()]
        assert job.deadline_s - job.arrived_s == pytest.approx(seconds)

    run(scenario())


@pytest.mark.parametrize("value", ["0", "000", "", "-1", "1.5", "1000000000", "x"])
def test_other_deadlines_are_malformed(run, value):
    async def scenario():
        it = Both()
        status, _, told = await it.ask(ROW, f"x-request-timeout-ms: {value}")
        assert (status, told["code"]) == (400, "MalformedRequestError")
        assert "a whole number of milliseconds above 0" in told["detail"]

    run(scenario())


def test_a_request_has_its_callers_id_or_one_of_its_own(run):
    async def scenario():
        it = Both(stable_s=(0.0,))
        await settle()
        for given, told in (("r-1", "r-1"), ("x" * 128, "x" * 128), ("x" * 129, "gw-1"), ("a b", "gw-2"), ("", "gw-3")):
            status, fields, reply = await it.ask(ROW, f"x-request-id: {given}")
            assert (status, fields["x-request-id"], reply["request_id"]) == (200, told, told)

    run(scenario())


@pytest.mark.parametrize(
    ("media", "status"),
    [
        ("application/json", 200),
        ("Application/JSON; charset=utf-8", 200),
        ("application/vnd.x+json", 200),
        ("text/plain", 415),
        ("application/jsonp", 415),
    ],
)
def test_predict_takes_json(run, media, status):
    async def scenario():
        it = Both(stable_s=(0.0,))
        await settle()
        assert (await it.ask(ROW, f"content-type: {media}"))[0] == status

    run(scenario())


@pytest.mark.parametrize(
    ("header", "status", "code"),
    [
        ("x-a: b", 401, "MissingTokenError"),
        ("authorization: Bearer wrong", 403, "AccessDeniedError"),
        ("authorization: Basic secret", 403, "AccessDeniedError"),
        ("authorization: bearer  secret ", 200, None),
    ],
)
def test_a_version_is_named_with_the_token_alone(run, header, status, code):
    async def scenario():
        it = Both(stable_s=(0.0,), canary_s=(0.0,), canary_bp=1)
        await settle()
        told = await it.ask(ROW, "x-divisions-version: 3.2", header)
        assert told[0] == status
        assert told[2].get("code") == code
        if status == 200:
            assert told[2]["version"] == "3.2"
            assert it.world.counted() == {"3.1": (0, 0), "3.2": (0, 0)}

    run(scenario())


def test_refusals_are_counted_by_endpoint_status_and_code(run):
    async def scenario():
        it = Both(stable_s=(0.0,))
        await settle()
        for _ in range(2):
            await it.ask({"features": {}})
        await it.ask(ROW, path="/api/v2/predict/other")
        await it.ask(ROW, path="/api/v2/predict/No%20Name")
        await it.ask({"inputs": []}, path="/v2/models/churn/infer")
        assert it.refusals.counts == {
            ("churn", 422, "InvalidFeaturesError"): 2,
            ("", 404, "UnknownEndpointError"): 1,
            ("", 400, "MalformedRequestError"): 1,
            ("churn", 400, "InvalidFeaturesError"): 1,
        }

    run(scenario())


@pytest.mark.parametrize(("seconds", "told"), [(0.001, "1"), (1.4, "1"), (1.6, "2"), (75.0, "75")])
def test_a_shed_caller_is_told_whole_seconds_to_wait(run, seconds, told):
    async def scenario():
        it = Both()
        handler = it.predict
        _, connection, transport = connect(_Refuses(handler, OverloadedError("busy", retry_after_s=seconds)))
        connection.data_received(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert b"retry-after: %s\r\n" % told.encode() in transport.written
        assert transport.statuses == [503]

    run(scenario())


def test_a_request_without_a_customer_is_split_by_its_own_id(run):
    async def scenario():
        it = Both(stable_s=(0.0,), canary_s=(0.0,), canary_bp=5_000)
        await settle()
        chosen = set()
        for number in range(12):
            wanted = it.world.endpoint.pool_for(b"r-%d" % number).spec.version
            _, _, told = await it.ask({"features": {"minutes": 1.0}}, f"x-request-id: r-{number}")
            assert (told["version"], told["customer_id"]) == (wanted, None)
            chosen.add(wanted)
        assert chosen == {"3.1", "3.2"}
        many = {"instances": [{"features": {"minutes": 1.0}}] * 12}
        _, _, told = await it.ask(many, "x-request-id: r")
        wanted = [it.world.endpoint.pool_for(b"r-%d" % position).spec.version for position in range(12)]
        assert [row["version"] for row in told["predictions"]] == wanted

    run(scenario())


@pytest.mark.parametrize(
    ("url", "is_ours"),
    [
        (b"/v2/models/churn/infer", True),
        (b"/v2/models/churn/infer?x=1", True),
        (b"/v2/models/churn/versions/3.1/infer", True),
        (b"/v2/models/churn/versions/3.1/x/infer", False),
        (b"/v2/models//infer", False),
        (b"/v2/models/churn/ready", False),
        (b"/x/v2/models/churn/infer", False),
    ],
)
def test_which_urls_are_inference(url, is_ours):
    assert is_infer(url) is is_ours


@pytest.mark.parametrize(("timeout", "seconds"), [
    (0, 1.0), (1, 1e-6), (250_000, 0.25), (999_999, 0.999999), (1_000_000, 1.0), (10**400, 1.0),
])  # fmt: skip
def test_the_parameter_timeout_is_microseconds(timeout, seconds):
    assert _timeout_s({"timeout": timeout}, 1.0) == pytest.approx(seconds)
    assert _timeout_s({}, 1.0) == 1.0


@pytest.mark.parametrize("timeout", [-1, 1.5, True, "1", None])
def test_another_timeout_is_malformed(timeout):
    with pytest.raises(MalformedRequestError, match="a whole number of microseconds"):
        _timeout_s({"timeout": timeout}, 1.0)


@pytest.mark.parametrize(
    ("parameters", "header", "key"),
    [
        ({"customer_id": "c", "sequence_id": 7}, b"h", b"c"),
        ({"sequence_id": 7}, b"h", b"h"),
        ({"sequence_id": 7}, None, b"7"),
        ({"sequence_id": -7}, b"", b"-7"),
        ({"customer_id": "", "sequence_id": 0}, None, b""),
        ({"customer_id": "k" * MAX_ID_CHARACTERS}, None, b"k" * MAX_ID_CHARACTERS),
        ({"customer_id": 10**MAX_ID_CHARACTERS - 1}, None, b"9" * MAX_ID_CHARACTERS),
        ({"customer_id": 0}, b"h", b"0"),
        ({"customer_id": 7.0}, None, b"7"),
        ({}, None, b""),
    ],
)
def test_the_key_of_the_split_is_the_customer_then_the_header_then_the_sequence(parameters, header, key):
    assert _key(parameters, "customer_id", header) == key


@pytest.mark.parametrize("value", ["k" * 257, 10**MAX_ID_CHARACTERS, True, 1.5, ["c"]])
def test_a_key_of_another_kind_or_length_is_refused(value):
    with pytest.raises(InvalidFeaturesError, match=r"`customer_id`.*(text or a whole number|256)"):
        _key({"customer_id": value}, "customer_id", None)


@pytest.mark.parametrize(("length", "status"), [("999999999999", 400), ("1234567890123", 400), ("x", 400), ("1", 400)])
def test_the_length_of_the_json_part_is_one_number(run, length, status):
    async def scenario():
        it = Both(stable_s=(0.0,))
        await settle()
        path = "/v2/models/churn/infer"
        good = len(msgspec.json.encode(INFER))
        assert (await it.ask(INFER, f"Inference-Header-Content-Length: {good}", path=path))[0] == 200
        told = await it.ask(INFER, f"Inference-Header-Content-Length: {length}", path=path)
        assert told[0] == status
        assert ("must be one whole number" in told[2]["detail"]) is (length in {"x", "1234567890123"})
        twice = [f"Inference-Header-Content-Length: {good}"] * 2
        assert "must be one whole number" in (await it.ask(INFER, *twice, path=path))[2]["detail"]

    run(scenario())


def test_inference_answers_all_rows_by_one_version(run):
    async def scenario():
        it = Both(stable_s=(0.0,), canary_s=(0.0,), canary_bp=5_000)
        await settle()
        for number in range(8):
            wanted = it.world.endpoint.pool_for(b"c-%d" % number).spec.version
            status, _, told = await it.ask(INFER, f"x-customer-id: c-{number}", path="/v2/models/churn/infer")
            assert (status, told["model_version"]) == (200, wanted)
            assert told["outputs"][0]["data"] == pytest.approx([0.001, 0.002])
        _, _, told = await it.ask(INFER, path="/v2/models/churn/versions/3.2/infer")
        assert told["model_version"] == "3.2"
        status, _, told = await it.ask(INFER, path="/v2/models/churn/versions/9.9/infer")
        assert (status, told["code"]) == (404, "UnknownVersionError")

    run(scenario())


class _Refuses(Handler):
    """Refuses every request through a front."""

    def __init__(self, front, error) -> None:
        self.front, self.error = front, error

    def handle(self, request) -> None:
        self.front.refuse("", request.exchange, self.error, b"r")


def test_options_begin_with_nothing_but_the_deadline():
    options = Options(2.5)
    assert options.timeout_s == 2.5
    assert (options.name, options.version, options.request_id, options.traceparent) == ("", None, b"", b"")
    assert (options.key, options.json_bytes, options.error) == (None, None, None)
