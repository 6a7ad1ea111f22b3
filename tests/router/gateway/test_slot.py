"""Gateways of one node have numbers and addresses of their own, and a scrape of their shared port tells of all."""

import asyncio
import dataclasses
import json
import subprocess
import sys

import httpx
from prometheus_client.parser import text_string_to_metric_families

from divisions.clock import SystemClock
from divisions.online_store import OnlineStoreReader
from router.gateway.gateway import Gateway, GatewayIdentity
from router.gateway.slot import FOLDER, address, claim
from router.predict.stored_features import StoredFeatures
from tests.router.gateway_world import features, minutes_score, world


def samples(text):
    return [sample for family in text_string_to_metric_families(text) for sample in family.samples]


def test_numbers_are_the_lowest_free_ones_and_come_back(tmp_path):
    first, second = claim(tmp_path), claim(tmp_path)
    assert (first.number, second.number) == (0, 1)
    first.advertise("127.0.0.1:9100")
    path = tmp_path / FOLDER / "gateway-0.json"
    assert json.loads(path.read_text()) == [{"targets": ["127.0.0.1:9100"]}]
    assert path.stat().st_mode & 0o077 == 0
    first.release()
    assert json.loads(path.read_text()) == []
    assert claim(tmp_path).number == 0
    second.release()


def test_a_number_is_free_again_when_its_process_was_killed(tmp_path):
    code = (
        "import os, signal, pathlib, sys; from router.gateway.slot import claim;"
        "slot = claim(pathlib.Path(sys.argv[1])); slot.advertise('x:1'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    ended = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert ended.returncode == -9
    assert json.loads((tmp_path / FOLDER / "gateway-0.json").read_text()) == [{"targets": ["x:1"]}]
    assert claim(tmp_path).number == 0


def test_a_gateway_without_a_folder_serves_all_the_same(tmp_path):
    (tmp_path / FOLDER).write_text("a file is in the way")
    slot = claim(tmp_path)
    assert slot.number == 0
    slot.advertise("x:1")
    slot.release()


def test_the_address_is_one_that_a_scraper_on_this_machine_reaches():
    assert address("127.0.0.1", 1) == address("0.0.0.0", 1) == "127.0.0.1:1"
    assert address("::", 1) == address("::1", 1) == "[::1]:1"
    assert address("10.0.0.7", 1) == "10.0.0.7:1"


def test_a_port_of_its_own_tells_of_one_gateway_and_the_shared_one_of_all(run):
    async def scenario():
        async with world() as it:
            replica = await it.replica("3.1", minutes_score)
            await it.route([replica])
            settings = dataclasses.replace(it.settings, port=it.port)

            def store(endpoint: str) -> OnlineStoreReader:
                return OnlineStoreReader(it.folder / "online.db", endpoint)

            slots = [claim(it.folder), claim(it.folder)]
            identity = GatewayIdentity("other", "here", "secret", b"", number=1)
            other = Gateway(settings, identity, it.link, StoredFeatures(store), SystemClock(), lambda spec: None)
            await other.start()
            ports = [await it.gateway.listen_alone(), await other.listen_alone()]
            for slot, port in zip(slots, ports, strict=True):
                slot.advertise(f"127.0.0.1:{port}")
            sent = [3, 4]
            try:
                async with httpx.AsyncClient(timeout=30) as client:
                    for port, count in zip(ports, sent, strict=True):
                        url = f"http://127.0.0.1:{port}/api/v2/predict/churn"
                        for _ in range(count):
                            assert (await client.post(url, json={"features": features()})).status_code == 200
                    for gateway in (it.gateway, other):
                        tally = gateway.dispatcher.endpoints["churn"].stable.tally
                        tally.take(1 << 40)
                        tally.settle(1 << 40)
                    for number, port in enumerate(ports):
                        text = (await client.get(f"http://127.0.0.1:{port}/metrics")).text
                        assert answered(text) == {str(number): sent[number]}
                        assert all(row.labels.get("gateway") == str(number) for row in samples(text))
                    text = await whole(client, f"http://127.0.0.1:{it.port}/metrics", gateways=2)
                    assert answered(text) == {"0": 3, "1": 4}
                    assert text.count("# TYPE divisions_requests_total ") == 1
                    refused = await client.post(f"http://127.0.0.1:{ports[1]}/metrics")
                    assert refused.status_code == 405
            finally:
                await other.stop(0.2)
                for slot in slots:
                    slot.release()

    run(scenario())


async def whole(client: httpx.AsyncClient, url: str, gateways: int) -> str:
    """A scrape that every gateway has answered in time: this machine may stall longer than they are waited for."""
    for _ in range(1_200):
        text = (await client.get(url)).text
        if [row.value for row in samples(text) if row.name == "divisions_gateway_answered"] == [1] * gateways:
            return text
        await asyncio.sleep(0.1)
    raise AssertionError(text)


def answered(text: str) -> dict[str, float]:
    """Answered requests by gateway."""
    return {row.labels["gateway"]: row.value for row in samples(text) if row.name == "divisions_requests_total"}
