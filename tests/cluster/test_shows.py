"""A cluster of three hosts under load: a canary."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.cluster.network import Network
from tests.cluster.product import ENDPOINT, Product
from tests.cluster.services import Services
from tests.cluster.watch import Watch, under_load, watched

RATE_RPS = 34.0
"""On each of the three gateways."""


@pytest.fixture(scope="module")
def product(network: Network, services: Services, tmp_path_factory) -> Product:
    """A cluster that serves a version of a pipeline that ran on a client machine."""
    product = Product(network, services, tmp_path_factory.mktemp("product"))
    product.start()
    with watched(product.watch()) as watch:
        version = product.run_pipeline()
        watch.wait_for({"PROMOTED"}, version)
    return product


@pytest.fixture
def watch(product: Product) -> Iterator[Watch]:
    """Looks at a cluster that is whole, and makes it whole again."""
    with watched(product.watch()) as watch:
        product.be_whole(watch)
        yield watch
        product.be_whole(watch)


def test_a_canary_gets_all_traffic_through_a_gateway_on_each_host(product: Product, watch: Watch, tmp_path):
    with under_load(product.hosts, ENDPOINT, product.holdout, RATE_RPS, tmp_path) as load:
        began_s = time.time()
        version = product.roll_out()
        end = watch.wait_for({"PROMOTED", "ROLLED_BACK", "HOLD"}, version)
        failed = load.failed((began_s, time.time()))
    assert end.phase == "PROMOTED", end.message
    weights = [entry.weight_bp for entry in end.history if entry.phase in {"STEP", "BAKE", "PROMOTED"}]
    print(weights, failed)
    assert [count for _, count in failed.values()] == [0, 0, 0], load.reasons()
