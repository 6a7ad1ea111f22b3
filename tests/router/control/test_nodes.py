"""Which nodes are prepared, and which gateways run where."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from router.control.nodes import LOST_KEPT_S, RETRY_S, GatewayState, Nodes, SeenNode, gateway_url

OWN = SeenNode("a" * 56, "10.0.0.1", "one", True, gateways=1)
OTHER = SeenNode("b" * 56, "10.0.0.2", "two", True, gateways=2)
APPS = {node.node_id: f"divisions-gateway-{node.node_id[:16]}-stamp" for node in (OWN, OTHER)}


@pytest.fixture
def nodes():
    nodes = Nodes(OWN.node_id, "stamp")
    nodes.see([OWN, OTHER], 0.0)
    nodes.prepared(OWN.node_id)
    return nodes


def states(nodes):
    return {row.address: row.state for row in nodes.rows(8000, (), {})}


def test_only_a_prepared_node_gets_gateways(nodes):
    assert dict(nodes.changes({}).start) == {APPS[OWN.node_id]: OWN}
    assert nodes.unprepared(0.0) == (OTHER,)
    assert nodes.unprepared(1.0) == (), "it is being prepared"
    nodes.prepared(OTHER.node_id)
    assert set(nodes.changes({APPS[OWN.node_id]: GatewayState("RUNNING", 1)}).start) == {APPS[OTHER.node_id]}


def test_a_refused_node_is_shown_with_the_reason_and_asked_again(nodes):
    nodes.unprepared(0.0)
    nodes.prepared(OTHER.node_id, "has another version")
    assert states(nodes) == {"10.0.0.1": "alive", "10.0.0.2": "refused"}
    assert nodes.rows(8000, (), {})[1].reason == "has another version"
    assert nodes.unprepared(RETRY_S - 0.1) == ()
    assert nodes.unprepared(RETRY_S) == (OTHER,)


def test_an_unmarked_node_gets_none():
    nodes = Nodes(OWN.node_id, "stamp")
    nodes.see([replace(OWN, gateways=0)], 0.0)
    nodes.prepared(OWN.node_id)
    assert not nodes.changes({}).start
    assert nodes.rows(8000, (), {})[0].gateway == ""


def test_a_lost_node_loses_its_gateways_at_once_and_its_row_later(nodes):
    nodes.prepared(OTHER.node_id)
    running = {app: GatewayState("RUNNING", 1) for app in APPS.values()}
    nodes.see([OWN], 10.0)
    assert nodes.changes(running).stop == (APPS[OTHER.node_id],)
    assert states(nodes)["10.0.0.2"] == "lost"
    nodes.see([OWN], 10.0 + LOST_KEPT_S)
    assert "10.0.0.2" not in states(nodes)


def test_a_list_without_our_own_node_changes_nothing(nodes):
    nodes.prepared(OTHER.node_id)
    nodes.see([], 1.0)
    nodes.see([replace(OWN, is_alive=False), OTHER], 2.0)
    running = {app: GatewayState("RUNNING", 1) for app in APPS.values()}
    assert nodes.changes(running).stop == ()
    assert states(nodes) == {"10.0.0.1": "alive", "10.0.0.2": "alive"}


def test_a_restarted_controller_keeps_the_gateways_of_nodes_that_it_has_not_asked_yet(nodes):
    running = {app: GatewayState("RUNNING", 1) for app in APPS.values()}
    assert nodes.changes(running).stop == ()
    nodes.unprepared(0.0)
    nodes.prepared(OTHER.node_id, "has another version")
    assert nodes.changes(running).stop == (APPS[OTHER.node_id],)


def test_gateways_of_an_earlier_deployment_go_when_their_successors_answer(nodes):
    old = APPS[OWN.node_id].replace("stamp", "older")
    nodes.prepared(OTHER.node_id)
    both = {old: GatewayState("RUNNING", 1), APPS[OWN.node_id]: GatewayState("DEPLOYING")}
    assert nodes.changes(both).stop == ()
    assert nodes.changes(both | {APPS[OWN.node_id]: GatewayState("RUNNING", 1)}).stop == (old,)


def test_gateways_that_fail_say_why_and_are_started_again(nodes):
    app = APPS[OWN.node_id]
    assert nodes.changes({app: GatewayState("DEPLOY_FAILED", 0, "the port is taken")}).stop == (app,)
    assert nodes.rows(8000, (), {})[0].reason == "the port is taken"
    assert app in nodes.changes({}).start
    nodes.changes({app: GatewayState("RUNNING", 1)})
    assert nodes.rows(8000, (), {})[0].reason == ""


def test_a_leaving_node_loses_its_gateways_while_it_lives(nodes):
    nodes.prepared(OTHER.node_id)
    running = {app: GatewayState("RUNNING", 1) for app in APPS.values()}
    nodes.leave(OTHER.node_id)
    assert nodes.changes(running).stop == (APPS[OTHER.node_id],)
    assert states(nodes)["10.0.0.2"] == "leaving"


@pytest.mark.parametrize(
    ("hosts", "url"),
    [
        ((), "http://10.0.0.1:8000"),
        (("127.0.0.1",), "http://127.0.0.1:8000"),
        (("0.0.0.0",), "http://10.0.0.1:8000"),
        (("127.0.0.1", "192.168.0.1"), "http://192.168.0.1:8000"),
    ],
)
def test_the_url_is_one_that_the_gateway_listens_on(hosts, url):
    assert gateway_url("10.0.0.1", 8000, hosts) == url
    assert gateway_url("fd00::1", 8000, ()) == "http://[fd00::1]:8000"


class Keeping(RuleBasedStateMachine):
    """A cluster whose nodes come, go and are refused, while the changes are carried out."""

    def __init__(self) -> None:
        super().__init__()
        self.nodes = Nodes(OWN.node_id, "stamp")
        self.living = {OWN.node_id: OWN}
        self.refused: set[str] = set()
        self.running: set[str] = set()
        self.now_s = 0.0
        self.number = 0

    @rule(gateways=st.integers(0, 2), is_refused=st.booleans())
    def join(self, gateways: int, is_refused: bool) -> None:
        self.number += 1
        node_id = f"{self.number:04d}".ljust(56, "x")
        self.living[node_id] = SeenNode(node_id, f"10.0.1.{self.number}", "", True, gateways)
        if is_refused:
            self.refused.add(node_id)

    @precondition(lambda self: len(self.living) > 1)
    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        del self.living[data.draw(st.sampled_from(sorted(set(self.living) - {OWN.node_id})))]

    @rule()
    def restart_controller(self) -> None:
        self.nodes = Nodes(OWN.node_id, "stamp")

    @rule(turns=st.integers(1, 3))
    def keep(self, turns: int) -> None:
        for _ in range(turns):
            self.now_s += RETRY_S
            self.nodes.see(self.living.values(), self.now_s)
            self.nodes.prepared(OWN.node_id)
            for node in self.nodes.unprepared(self.now_s):
                self.nodes.prepared(node.node_id, "refused" if node.node_id in self.refused else "")
            changes = self.nodes.changes({app: GatewayState("RUNNING", 1) for app in self.running})
            self.running = (self.running - set(changes.stop)) | set(changes.start)
        usable = [node for node in self.living.values() if node.gateways and node.node_id not in self.refused]
        assert self.running == {f"divisions-gateway-{node.node_id[:16]}-stamp" for node in usable}

    @invariant()
    def no_row_of_a_living_node_is_missing_after_a_look(self) -> None:
        rows = self.nodes.rows(8000, (), {})
        assert len({row.node_id for row in rows}) == len(rows)


TestKeeping = Keeping.TestCase
TestKeeping.settings = hypothesis_settings(max_examples=60, stateful_step_count=15, deadline=None)
