"""A scrape asks the other gateways of the node, and waits for none that hangs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os

import pytest

from router.gateway.neighbours import OWN_METRICS, Neighbours, living
from router.gateway.slot import FOLDER, claim

METRICS = b'# HELP a A\n# TYPE a gauge\na{gateway="%d"} 1\n'
PATIENCE_S = 30.0


def reply(body: bytes, status: bytes = b"200 OK", length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status, size, body)


@contextlib.asynccontextmanager
async def serving(answer: bytes | None):
    """A server that gives ``answer`` to each request; None: it never answers."""
    asked = []

    async def serve(reader, writer):
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        if answer is not None:
            writer.write(answer)
        else:
            await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}", asked
    finally:
        server.close()


@pytest.fixture
def slots(tmp_path):
    held = [claim(tmp_path) for _ in range(3)]
    yield held
    for slot in held:
        slot.release()


def test_all_others_are_asked_for_their_own_metrics(tmp_path, slots):
    async def scenario():
        async with serving(reply(METRICS % 1)) as (first, asked), serving(reply(METRICS % 2)) as (second, _):
            slots[0].advertise("127.0.0.1:1")
            slots[1].advertise(first)
            slots[2].advertise(second)
            assert await Neighbours(tmp_path, 0, PATIENCE_S).read() == {1: METRICS % 1, 2: METRICS % 2}
            assert asked[0].startswith(b"GET %s HTTP/1.1" % OWN_METRICS.encode())

    asyncio.run(scenario())


def test_one_that_hangs_is_left_out_and_said_to_be_silent(tmp_path, slots):
    async def scenario():
        async with serving(None) as (hanging, _):
            slots[1].advertise(hanging)
            assert await Neighbours(tmp_path, 0, answer_s=0.05).read() == {1: None}

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "answer",
    [
        reply(METRICS % 7),
        reply(b"<html>", b"404 Not Found"),
        reply(METRICS % 1, length=1 << 40),
        reply(METRICS % 1, length=-5),
        reply(METRICS % 1, length=1_000),
        b"not HTTP\r\n\r\n",
        b"",
    ],
    ids=["another's number", "no such path", "too long", "senseless length", "cut off", "another protocol", "nothing"],
)
def test_what_is_not_that_gateway_counts_as_silent(tmp_path, slots, answer):
    async def scenario():
        async with serving(answer) as (place, _):
            slots[1].advertise(place)
            assert await Neighbours(tmp_path, 0, PATIENCE_S).read() == {1: None}

    asyncio.run(scenario())


def test_nobody_at_the_address_counts_as_silent(tmp_path, slots):
    async def scenario():
        async with serving(b"") as (place, _):
            pass
        slots[1].advertise(place)
        assert await Neighbours(tmp_path, 0, PATIENCE_S).read() == {1: None}

    asyncio.run(scenario())


def test_a_file_whose_gateway_has_died_is_emptied_for_prometheus_too(tmp_path, slots):
    slots[1].advertise("127.0.0.1:1")
    slots[2].advertise("127.0.0.1:2")
    os.close(slots[1]._descriptor)  # as the kernel does when the process is killed
    slots[1]._descriptor = None
    assert living(tmp_path / FOLDER, but=0) == {2: "127.0.0.1:2"}
    assert json.loads((tmp_path / FOLDER / "gateway-1.json").read_text()) == []
    taken = claim(tmp_path)
    assert taken.number == 1
    taken.release()


def test_files_that_mean_nothing_are_passed_over(tmp_path, slots):
    slots[1].advertise("127.0.0.1:1")
    folder = tmp_path / FOLDER
    (folder / "gateway-9.json").write_text("{ no JSON")
    (folder / "gateway-8.json").write_text("")
    (folder / "gateway-7.json").write_text('[{"targets": []}]')
    (folder / "gateway-x.json").write_text("[]")
    (folder / "gateway-6.json").mkdir()
    assert living(folder, but=0) == {1: "127.0.0.1:1"}
    assert living(tmp_path / "absent", but=0) == {}
