"""Where a gateway listens, and for which names."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from divisions.errors import SettingsError
from divisions.settings import Settings
from router.gateway.ports import allowed_hosts
from router.http.hosts import canonical
from tests.router.gateway_world import world

HOME = Path("home")


def test_hosts_are_those_that_are_named_or_those_of_the_address():
    assert allowed_hosts(Settings(HOME, allowed_hosts=("a.example", "*"))) == frozenset()
    named = Settings(HOME, allowed_hosts=("A.example", "[FD00::1]"))
    assert allowed_hosts(named) == {canonical(b"a.example"), canonical(b"fd00::1")}
    usual = allowed_hosts(Settings(HOME, host="10.0.0.7"))
    assert {canonical(b"localhost"), canonical(b"127.0.0.1"), canonical(b"::1"), canonical(b"10.0.0.7")} <= usual
    names = ("gateway.example", "*.wild.example", "10.0.0.8")
    assert allowed_hosts(Settings(HOME), names) - allowed_hosts(Settings(HOME)) == {b"gateway.example", b"10.0.0.8"}
    assert allowed_hosts(named, names) == allowed_hosts(named)
    with pytest.raises(SettingsError, match=r"DIVISIONS_ALLOWED_HOSTS: 'a b' is no host name.*separated by commas"):
        allowed_hosts(Settings(HOME, allowed_hosts=("a b",)))


def test_thousands_of_callers_may_wait_for_a_port_that_gateways_share():
    async def scenario():
        loop, asked = asyncio.get_running_loop(), []
        create = loop.create_server

        def noting(*arguments, **options):
            asked.append((options["reuse_port"], options["backlog"]))
            return create(*arguments, **options)

        loop.create_server = noting
        async with world() as it:
            await it.gateway.listen_alone()
        assert asked == [(True, 2_048), (False, 16)]

    asyncio.run(scenario())
