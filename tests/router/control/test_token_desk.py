"""The controller's desk for tokens: changes are durable before they are told, and are told at once."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from divisions.access.requests import Actor, NewToken, TokenCommand
from divisions.access.roles import Role
from divisions.clock import ManualClock
from divisions.control import RoutingTable
from divisions.errors import ConflictError, TokensUnavailableError
from router.control.table_store import TableStore
from router.control.token_desk import NOTE_S, TokenDesk
from router.control.token_file import TokenFile

ANN = Actor("ann", "admin", "10.0.0.7")
CREATE = TokenCommand("create", new=NewToken("ci", Role.DEPLOYER, ("churn",), 30.0))


class World:
    def __init__(self, home):
        self.home = home
        self.clock = ManualClock()
        self.told = []
        self.desk = self.started()

    def started(self):
        return TokenDesk(TokenFile(self.home), self.clock, self.told.append)

    def names(self):
        """Whom gateways know."""
        return [record.name for record in self.told[-1].tokens]


@pytest.fixture
def it(tmp_path):
    return World(tmp_path)


def test_a_new_token_is_told_to_gateways_and_outlives_the_controller(it):
    answer = it.desk.carry_out(CREATE, ANN)
    assert answer.token.startswith("dvn_")
    assert [(row.name, row.role, row.endpoints, row.created_by) for row in answer.tokens] == [
        ("ci", Role.DEPLOYER, ("churn",), "ann")
    ]
    assert it.names() == ["ci"]
    it.started()
    assert it.names() == ["ci"]


def test_no_answer_but_that_to_its_maker_has_the_token(it):
    token = it.desk.carry_out(CREATE, ANN).token
    listed = it.desk.carry_out(TokenCommand("list"), ANN)
    assert listed.token == ""
    assert token.encode()[-43:] not in msgspec.json.encode((listed, it.told[-1]))
    assert token.encode()[-43:] not in (it.home / "access.json").read_bytes()


def test_revoking_and_rotating_are_told_at_once(it):
    first = it.desk.carry_out(CREATE, ANN).token
    before = it.told[-1]
    assert it.desk.carry_out(TokenCommand("rotate", "ci"), ANN).token not in {"", first}
    assert it.told[-1].is_newer_than(before)
    it.desk.carry_out(TokenCommand("revoke", "ci"), ANN)
    assert it.names() == []


def test_what_is_refused_changes_nothing(it):
    it.desk.carry_out(CREATE, ANN)
    before = (it.home / "access.json").read_bytes()
    with pytest.raises(ConflictError):
        it.desk.carry_out(CREATE, ANN)
    assert (it.home / "access.json").read_bytes() == before
    assert len(it.told) == 2


def test_a_damaged_file_stops_no_controller_and_lets_nobody_in(tmp_path):
    (tmp_path / "access.json").write_bytes(b"{")
    it = World(tmp_path)
    assert it.names() == []
    with pytest.raises(TokensUnavailableError):
        it.desk.carry_out(CREATE, ANN)


def test_a_list_that_was_lost_and_made_anew_is_newer_than_what_gateways_have(it):
    it.desk.carry_out(CREATE, ANN)
    old = it.told[-1]
    (it.home / "access.json").unlink()
    it.desk = it.started()
    it.desk.carry_out(CREATE, ANN)
    assert it.told[-1].is_newer_than(old)


def test_the_last_use_is_shown_at_once_and_written_down_now_and_then(it):
    it.desk.carry_out(CREATE, ANN)
    (record,) = it.told[-1].tokens
    it.desk.used([record.token_id, "unknown"])
    used_s = it.clock.wall_s()
    assert it.desk.carry_out(TokenCommand("list"), ANN).tokens[0].last_used_s == used_s
    it.desk.note_uses()
    assert TokenFile(it.home).load().tokens[0].last_used_s == 0.0
    it.clock.advance(NOTE_S)
    it.desk.note_uses()
    assert TokenFile(it.home).load().tokens[0].last_used_s == used_s
    assert TokenFile(it.home).load().stamp == it.told[-1].stamp, "no right has changed"


def test_a_poll_ends_when_a_token_is_revoked_whatever_the_epoch(run):
    """Also after a restart, while no table is published because replicas are not heard of again."""

    async def scenario():
        store = TableStore(writer=None)
        desk_list = msgspec.structs.replace(store.table.access, lineage="a", serial=7)
        waiting = asyncio.ensure_future(store.newer(5, 30.0, store.table.access.stamp))
        await asyncio.sleep(0)
        store.grant(desk_list)
        assert await waiting == RoutingTable(0, access=desk_list)
        # A gateway that was not waiting just then is told with its next poll.
        assert (await store.newer(5, 0.0, "a:6")).access == desk_list
        assert not (await asyncio.wait([asyncio.ensure_future(store.newer(5, 30.0, "a:7"))], timeout=0))[0]

    run(scenario())
