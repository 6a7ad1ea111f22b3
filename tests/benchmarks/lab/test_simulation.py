import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.harness.stopwatch import Figure
from benchmarks.lab.calibration import (
    CHANNEL,
    GATEWAY_1,
    GATEWAY_64,
    KERNEL_BATCH,
    KERNEL_REQUEST,
    REPORT,
    calibrate_costs,
)
from benchmarks.lab.micro_cases import ENGINE_ROWS, engine_case
from benchmarks.lab.saturation import bottleneck_of, find_saturation, sweep_nodes, upper_bound_rps
from benchmarks.lab.simulation import Cluster, Costs, Simulation, controller_share, simulate
from divisions.errors import InputError

COSTS = Costs(request_s=20e-6, turn_s=10e-6, replica_batch_s=15e-6, replica_row_s=1e-6, report_s=30e-6)

clusters = st.builds(
    Cluster,
    nodes=st.integers(1, 3),
    gateways_per_node=st.integers(1, 3),
    replicas_per_node=st.integers(1, 3),
    max_batch=st.sampled_from([1, 4, 64]),
    prefers_local=st.booleans(),
)


@settings(max_examples=40, deadline=None)
@given(cluster=clusters, load=st.floats(0.05, 3.0), seed=st.integers(0, 99))
def test_nothing_is_lost_or_made_up(cluster, load, seed):
    rate_rps = load * upper_bound_rps(cluster, COSTS)
    run = Simulation(cluster, COSTS, rate_rps, 600 / rate_rps, seed)
    run.run()
    found = run.outcome()
    assert run.answered_all + run.refused <= run.offered
    assert all(share <= 1.0 + 1e-9 for share in (found.gateway_share, found.replica_share, found.nic_share))
    assert found.mean_batch <= cluster.max_batch
    # No request can be quicker than its own work: at the gateway, and alone in a batch at a replica.
    least_s = COSTS.request_s + COSTS.turn_s + COSTS.replica_batch_s + COSTS.replica_row_s
    assert min(run.latencies_s, default=1.0) >= least_s
    if cluster.nodes == 1:
        assert found.remote_share == 0.0


@settings(max_examples=10, deadline=None)
@given(cluster=clusters, seed=st.integers(0, 99))
def test_a_light_load_is_answered_whole(cluster, seed):
    rate_rps = 0.05 * upper_bound_rps(cluster, COSTS)
    found = simulate(cluster, COSTS, rate_rps, 2_000 / rate_rps, seed)
    assert found.refused == 0
    assert found.answered_rps == pytest.approx(found.offered_rps, rel=0.15)


def test_the_same_seed_gives_the_same_outcome():
    cluster = Cluster(2)
    assert simulate(cluster, COSTS, 1e5, 0.05, 7) == simulate(cluster, COSTS, 1e5, 0.05, 7)


def test_a_lightly_loaded_request_takes_its_own_work_and_no_more():
    found = simulate(Cluster(1, 1, 1), COSTS, 100, 5.0)
    least_ms = (COSTS.request_s + COSTS.turn_s + COSTS.replica_batch_s + COSTS.replica_row_s) * 1e3
    assert found.p50_ms == pytest.approx(least_ms, abs=1e-3)


def test_a_busy_gateway_makes_larger_batches():
    quiet = simulate(Cluster(1, 1, 1), COSTS, 5_000, 0.3)
    busy = simulate(Cluster(1, 1, 1), COSTS, 45_000, 0.3)
    assert quiet.mean_batch < 1.5 < busy.mean_batch


def test_what_is_scarce_is_named():
    cluster = Cluster(1, gateways_per_node=1, replicas_per_node=1)
    _, outcome = find_saturation(cluster, COSTS, 4_000)
    assert bottleneck_of(outcome) == "gateway"
    heavy = msgspec.structs.replace(COSTS, replica_row_s=1e-3)
    _, outcome = find_saturation(cluster, heavy, 4_000, p99_limit_ms=500)
    assert bottleneck_of(outcome) == "replica"
    thin = msgspec.structs.replace(cluster, nic_bytes_per_s=1e6)
    rate_rps, outcome = find_saturation(thin, COSTS, 4_000)
    assert bottleneck_of(outcome) == "nic"
    assert rate_rps * thin.reply_bytes <= 1e6


def test_saturation_stays_below_the_bound_and_grows_with_nodes():
    series = sweep_nodes(Cluster(1, 1, 1), COSTS, (1, 2), 2_000, 0, lambda _line: None)
    assert all(one.rps_per_node * one.cluster.nodes <= upper_bound_rps(one.cluster, COSTS) + 1 for one in series)
    assert series[0].efficiency == 1.0
    assert series[1].efficiency > 0.8


def test_the_controller_is_charged_for_every_gateway_and_replica():
    assert controller_share(Cluster(10, 4, 4), COSTS) == pytest.approx(10 * (4 + 2) * 30e-6)


def figures():
    microseconds = {
        GATEWAY_1: 70.0,
        GATEWAY_64: 20.0,
        KERNEL_REQUEST: 9.0,
        KERNEL_BATCH: 3.0,
        REPORT: 30.0,
        CHANNEL[0]: 1.5,
        CHANNEL[1]: 0.5,
    }
    microseconds |= {engine_case(rows): 7.0 + rows for rows in ENGINE_ROWS}
    return [Figure(name, "call", us * 1e3, us * 1e3, 0.0, 1, 1, 1) for name, us in microseconds.items()]


def test_costs_follow_from_the_figures():
    costs = calibrate_costs(figures())
    assert costs.request_s == pytest.approx((64 * 20e-6 - 70e-6) / 63 + 9e-6)
    assert costs.turn_s == pytest.approx(70e-6 - (64 * 20e-6 - 70e-6) / 63 + 3e-6)
    assert costs.replica_row_s == pytest.approx(1e-6)
    assert costs.replica_batch_s == pytest.approx(7e-6 + 2e-6 + 3e-6)
    assert costs.report_s == pytest.approx(30e-6)


def test_a_missing_figure_is_named():
    for name in (KERNEL_REQUEST, KERNEL_BATCH):
        with pytest.raises(InputError, match=r"kernel.*benchmarks\.micro"):
            calibrate_costs([figure for figure in figures() if figure.name != name])
