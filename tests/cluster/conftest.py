"""Hosts of our own, for tests of clusters; see `tests.cluster.network`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.network import HostsAbsentError, Network, running_network
from tests.cluster.services import Services, start_services
from tests.servers import ServerAbsentError


@pytest.fixture(scope="session")
def network(tmp_path_factory) -> Iterator[Network]:
    """A switch; a test switches on hosts at it (`Network.host`)."""
    with skipped_where_absent(), running_network(tmp_path_factory.mktemp("hosts")) as network:
        yield network


@pytest.fixture(scope="session")
def services(network: Network) -> Services:
    """Redis, PostgreSQL and S3 on hosts of that network."""
    with skipped_where_absent():
        return start_services(network)


@contextlib.contextmanager
def skipped_where_absent() -> Iterator[None]:
    try:
        yield
    except (HostsAbsentError, ServerAbsentError) as error:
        pytest.skip(str(error))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test in this folder needs hosts."""
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.hosts)
