"""What does not scale with the nodes, and where it ends."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.lab.capacity import (
    MAX_GATEWAYS,
    MAX_NODES,
    MAX_POLLS,
    NODES,
    SPREAD_S,
    Calls,
    NodeShape,
    controller_share,
    limits,
    render_limits,
    spread_share,
)

CALLS = Calls(report_s=500e-6, heartbeat_s=400e-6, poll_s=600e-6, replica_bytes=300.0, copy_byte_s=1e-10)
ONE = NodeShape(gateways=1, replicas=2)


def test_the_controller_is_busy_by_what_nodes_send_each_second():
    assert controller_share(100, ONE, CALLS) == pytest.approx(100 * (500e-6 + 600e-6 / 30 + 2 * 400e-6))


def test_a_new_table_costs_the_product_of_gateways_and_replicas():
    once = spread_share(1, ONE, CALLS) * SPREAD_S
    assert once == pytest.approx(600e-6 + 2 * 300 * 1e-10)
    bytes_alone = [spread_share(nodes, ONE, CALLS) - nodes * 600e-6 / SPREAD_S for nodes in (100, 200)]
    assert bytes_alone[1] == pytest.approx(4 * bytes_alone[0])


@given(st.integers(1, 8), st.integers(1, 16), st.floats(1e-6, 1e-2), st.floats(0.0, 1_000.0))
def test_each_limit_is_just_reached(gateways, replicas, call_s, connection_kb):
    shape = NodeShape(gateways, replicas)
    calls = Calls(call_s, call_s, call_s, 300.0, 1e-10)
    found = limits(shape, calls, connection_kb)
    assert [limit.max_nodes for limit in found] == sorted(limit.max_nodes for limit in found)
    busy = next(limit for limit in found if "reports" in limit.name)
    assert controller_share(busy.max_nodes, shape, calls) <= 1.0
    assert busy.max_nodes == MAX_NODES or controller_share(busy.max_nodes + 1, shape, calls) > 1.0
    for limit in found:
        assert limit.shares == sorted(limit.shares)
        assert len(limit.shares) == len(NODES)


def test_the_model_has_the_products_own_limits():
    from router.control import ray_controller
    from serving.replica import channel_server

    assert ray_controller.MAX_CONCURRENCY == MAX_POLLS
    assert channel_server.MAX_GATEWAYS == MAX_GATEWAYS
    by_name = {limit.name: limit.max_nodes for limit in limits(NodeShape(4, 4), CALLS, 100.0)}
    assert by_name[f"controller: {MAX_POLLS:,} calls at once"] == MAX_POLLS // 4


def test_it_is_shown_with_the_first_limit_on_top():
    text = render_limits("a cluster", limits(ONE, CALLS, 100.0)).splitlines()
    assert text[1] == "computed: a cluster"
    assert text[3].startswith("controller: reports")
