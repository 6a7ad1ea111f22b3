"""Fixtures of the router's tests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import uvloop

from tests.router import journal_databases, rollout_world
from tests.router.journal_databases import KINDS, MakeDatabase
from tests.servers import PostgresServer


@pytest.fixture
def run() -> Callable:
    """Runs a coroutine on the kind of loop that the gateway runs on."""

    def _run(coroutine):
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(asyncio.wait_for(coroutine, 240))

    return _run


@pytest.fixture(autouse=True)
def closed_journals() -> Iterator[None]:
    """Closes the journals of the worlds that the test has made; those of wider fixtures were there before."""
    before = len(rollout_world.OPENED)
    yield
    for journal in rollout_world.OPENED[before:]:
        journal.close()
    del rollout_world.OPENED[before:]


@pytest.fixture
def world(tmp_path: Path) -> rollout_world.World:
    """A controller whose endpoint ``churn`` serves its first version."""
    it = rollout_world.World(tmp_path)
    it.deploy_first()
    return it


@pytest.fixture(scope="session")
def journal_database(postgres_server: PostgresServer) -> str:
    """The URL of an empty database on a real server."""
    return postgres_server.new_database()


@pytest.fixture(params=KINDS)
def make_database(request: pytest.FixtureRequest) -> MakeDatabase:
    """Makes the journal's database of a folder; the test runs over each kind."""
    return journal_databases.make_for(request.param, request)
