"""A client that was not told the entity's name learns it from the gateway, once, when its guess is refused."""

from __future__ import annotations

import asyncio

import httpx
import msgspec
import pytest

from divisions import AsyncClient, Client
from divisions.errors import InvalidFeaturesError

INDEX = {"divisions": "1", "endpoints": {"churn": {"entity": "CustomerId", "features": {}}, "spam": {}}}


class Gateway:
    """Serves ``churn``, whose entity is ``CustomerId``."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.index: object = INDEX

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.paths.append(request.url.path)
        if request.url.path == "/":
            return httpx.Response(200 if self.index else 500, json=self.index)
        body = msgspec.json.decode(request.content)
        rows = body.get("instances", [body])
        if not all(row.keys() <= {"CustomerId", "features"} for row in rows):
            return httpx.Response(422, json={"detail": "no such field", "code": "InvalidFeaturesError"})
        answers = [{"CustomerId": row.get("CustomerId"), "churn_probability": 0.5} for row in rows]
        return httpx.Response(200, json={"predictions": answers} if "instances" in body else answers[0])


@pytest.fixture
def gateway():
    return Gateway()


def client_of(gateway, **arguments):
    return Client("http://gateway", token="t", transport=httpx.MockTransport(gateway), **arguments)


def test_the_entity_is_learnt_once(gateway):
    with client_of(gateway) as client:
        assert client.predict("churn", customer_id="c-1").customer_id == "c-1"
        assert client.predict("churn", customer_id="c-2").customer_id == "c-2"
    predict = "/api/v2/predict/churn"
    assert gateway.paths == [predict, "/", predict, predict]


def test_it_is_learnt_for_many_rows_too_even_of_a_generator(gateway):
    with client_of(gateway) as client:
        found = client.predict("churn", instances=(f"c-{number}" for number in range(3)))
        assert [each.customer_id for each in found] == ["c-0", "c-1", "c-2"]
        (flat,) = client.predict("churn", instances=[{"CustomerId": "c", "minutes": 1.0}])
        assert flat.customer_id == "c"


def test_the_asynchronous_client_learns_it_as_well(gateway):
    async def scenario():
        transport = httpx.MockTransport(gateway)
        async with AsyncClient("http://gateway", token="t", transport=transport) as client:
            return await client.predict("churn", customer_id="c-1")

    assert asyncio.run(scenario()).customer_id == "c-1"


@pytest.mark.parametrize("index", [None, {}, {"endpoints": {}}, {"endpoints": {"churn": {"entity": "customer_id"}}}])
def test_a_refusal_that_has_another_reason_stays_what_it_is(gateway, index):
    gateway.index = index
    with client_of(gateway) as client, pytest.raises(InvalidFeaturesError, match="no such field"):
        client.predict("churn", customer_id="c-1")


def test_a_client_that_was_told_the_entity_does_not_ask(gateway):
    with client_of(gateway, entity="customer") as client, pytest.raises(InvalidFeaturesError):
        client.predict("churn", customer_id="c-1")
    assert gateway.paths == ["/api/v2/predict/churn"]
