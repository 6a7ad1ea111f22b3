"""Traces of a real gateway and its exporter, at a real collector."""

import asyncio
import subprocess
import sys

import pytest

from router.gateway.trace_link import TraceLink
from router.predict.trace_buffer import TraceBuffer
from tests.router.gateway_world import features, post, world
from tests.router.oip.oip_requests import INFER, echo, feature_tensors
from tests.router.traces.collector import attributes, collector

CALLER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
ONE = {"customer_id": "c-secret", "features": features(3.25, "gold")}


def traced(scenario, target=None, **settings) -> dict[str, float]:
    """Runs a scenario with a gateway whose traces go to ``target``; returns the counts of traces at the end."""
    counts: dict[str, float] = {}

    async def running():
        async with world(traces=True, **settings) as it:
            await it.route([await it.replica("3.1", echo)])
            await scenario(it)
            await it.gateway._traces.close()
            health = it.gateway._traces.health()
            counts.update({"exported": health.exported, **health.lost})

    async def bounded():
        await asyncio.wait_for(running(), 200)

    with pytest.MonkeyPatch.context() as patch:
        for name in ("OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG", "OTEL_SERVICE_NAME"):
            patch.delenv(name, raising=False)
        patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", target or "http://127.0.0.1:9")
        patch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-key=planted")
        patch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
        asyncio.run(bounded())
    return counts


async def settled(it, count: int) -> None:
    """Waits until the exporter has told of so many requests."""
    for _ in range(10_000):
        health = it.gateway._traces.health()
        if health.exported + sum(health.lost.values()) >= count:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(it.gateway._traces.health())


def test_every_form_of_request_is_one_trace_without_anything_of_the_customer():
    with collector() as target:

        async def scenario(it):
            await it.predict(ONE, "X-Request-Id: one", f"Traceparent: {CALLER}", "Authorization: Bearer planted-token")
            await it.predict({"instances": [{"features": features()}, ONE]}, "X-Request-Id: two")
            tensors = feature_tensors([1, 2], ["basic", "gold"], [True, False])
            await it.raw(post({"id": "three", "inputs": tensors}, path=INFER))
            await it.raw(post(b"125,gold,true\n", "Content-Type: text/csv", "X-Request-Id: four", path="/invocations"))
            await it.predict({"features": {"minutes": "no"}}, "X-Request-Id: five")
            await it.raw(post(ONE, "X-Request-Id: six", path="/api/v2/predict/other"))
            await settled(it, 6)
            (reply,) = await it.raw(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer secret\r\n\r\n")
            assert b'divisions_traces_exported_total{gateway="0"} 6.0' in reply.body

        assert traced(scenario, target.url) == {"exported": 6, "buffer": 0, "exporter": 0, "collector": 0}
        spans = target.until(6 + 3 * 2)
    assert target.resource["service.name"] == "divisions-gateway"
    assert {headers["x-key"] for headers in target.headers} == {"planted"}
    roots = {attributes(span)["divisions.request_id"]: span for span in spans if span.kind == 2}
    assert list(roots) == ["one", "two", "three", "four", "five", "six"]
    told = {name: attributes(span) for name, span in roots.items()}
    for name, rows in (("one", 1), ("two", 2), ("three", 2)):
        assert told[name]["divisions.version"] == "3.1"
        assert told[name]["divisions.arm"] == "stable"
        assert told[name]["divisions.rows"] == told[name]["divisions.batch.rows"] == rows
        children = [span for span in spans if span.parent_span_id == roots[name].span_id]
        assert [span.name for span in children] == ["queue", "compute"]
        for child in children:
            assert child.trace_id == roots[name].trace_id
            assert roots[name].start_time_unix_nano <= child.start_time_unix_nano
            assert child.start_time_unix_nano <= child.end_time_unix_nano <= roots[name].end_time_unix_nano
    assert told["four"]["divisions.endpoint"] == "churn"
    assert [told[name]["http.response.status_code"] for name in roots] == [200, 200, 200, 200, 422, 404]
    assert told["five"]["error.type"]
    assert "divisions.endpoint" not in told["six"]
    assert roots["one"].trace_id.hex() == CALLER.split("-")[1]
    assert roots["one"].parent_span_id.hex() == CALLER.split("-")[2]
    assert len({span.trace_id for span in roots.values()}) == 6
    everything = "".join(str(request) for request in target.requests)
    assert not [secret for secret in ("c-secret", "planted", "3.25", "gold") if secret in everything]


@pytest.mark.parametrize(
    "headers",
    [
        ("",),
        ("nonsense",),
        ("00-" + "0" * 32 + "-00f067aa0ba902b7-01",),
        (CALLER + "-x",),
        ("ff" + CALLER[2:],),
        ("\xff" * 55,),
        (CALLER, CALLER),
        (CALLER, "00-" + "1" * 32 + "-00f067aa0ba902b7-01"),
        ("", CALLER),
    ],
)
def test_a_malformed_traceparent_begins_a_new_trace_and_is_never_an_error(headers):
    with collector() as target:

        async def scenario(it):
            lines = [f"Traceparent: {header}" for header in headers]
            reply = await it.predict(ONE, *lines)
            assert reply.status == 200
            (reply,) = await it.raw(post(b"125,gold,true\n", "Content-Type: text/csv", *lines, path="/invocations"))
            assert reply.status == 200
            await settled(it, 2)

        traced(scenario, target.url)
        roots = [span for span in target.until(4) if span.kind == 2]
        assert len(roots) == 2
        for root in roots:
            assert root.parent_span_id == b""
            assert root.trace_id.hex() not in {CALLER.split("-")[1], "1" * 32}


def test_the_callers_decision_holds():
    with collector() as target:

        async def scenario(it):
            for flags in ("00", "01"):
                await it.predict(ONE, f"X-Request-Id: {flags}", f"Traceparent: {CALLER[:-2]}{flags}")
            await settled(it, 1)

        assert traced(scenario, target.url)["exported"] == 1
        assert [attributes(span)["divisions.request_id"] for span in target.until(3) if span.kind == 2] == ["01"]


def test_a_collector_that_is_down_or_refuses_costs_traces_and_no_request():
    async def scenario(it):
        for _ in range(3):
            assert (await it.predict(ONE)).status == 200
        await settled(it, 3)

    assert traced(scenario) == {"exported": 0, "buffer": 0, "exporter": 0, "collector": 3}
    with collector() as target:
        target.status = 401
        assert traced(scenario, target.url) == {"exported": 0, "buffer": 0, "exporter": 0, "collector": 3}


def test_a_collector_that_stands_still_is_never_waited_for():
    with collector() as target:
        target.may_answer.clear()

        async def scenario(it):
            for _ in range(20):
                assert (await it.predict(ONE)).status == 200

        counts = traced(scenario, target.url)
        assert counts["exported"] == 0


def test_off_there_is_neither_a_buffer_nor_a_process():
    async def scenario():
        async with world() as it:
            assert it.gateway._traces is None
            assert it.gateway._predict.traces is None

    asyncio.run(scenario())


def test_an_exporter_that_dies_is_started_again_and_what_it_had_is_counted():
    processes = []

    def start(number, theirs):
        code = "import sys,socket; socket.socket(fileno=int(sys.argv[1])).recv(10); sys.exit()"
        processes.append(
            subprocess.Popen([sys.executable, "-c", code, str(theirs.fileno())], pass_fds=[theirs.fileno()])
        )
        return processes[-1]

    class Time:
        now_s = 0.0

        def monotonic_s(self):
            self.now_s += 1.0
            return self.now_s

        wall_s = monotonic_s

    async def scenario():
        buffer = TraceBuffer(True, 1 << 64, lambda: 5, lambda: 1.0)
        link = TraceLink(buffer, Time(), start)
        for _ in range(2):
            buffer.replied(b"", b"r", "churn", 1, 200, "", 0.5)
        for _ in range(10_000):
            link.sweep()
            if link.health().lost["exporter"] == 2 and len(processes) > 1:
                return
            await asyncio.sleep(0.01)
        raise AssertionError(link.health())

    asyncio.run(scenario())
    for process in processes:
        process.kill()
        process.wait(60)
