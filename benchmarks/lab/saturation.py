"""Where a simulated cluster saturates: the highest load that it carries, and its bottleneck at that load. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from benchmarks.lab.simulation import Cluster, Costs, Outcome, simulate

SEARCH_STEPS = 9
P99_LIMIT_MS = 10.0
_CARRIED = 0.98


class Saturation(msgspec.Struct, frozen=True):
    """One cluster at the highest load that it carries: p99 within the limit, nothing refused, all answered.

    ``bottleneck`` is the busiest of gateway, replica, nic and controller. ``efficiency`` compares the load per node
    with that of the first, smallest cluster of its series.
    """

    cluster: Cluster
    outcome: Outcome
    bottleneck: str
    rps_per_node: float
    efficiency: float


def carries(outcome: Outcome, p99_limit_ms: float) -> bool:
    """Whether the load was carried, not only survived for the simulated time."""
    return (
        outcome.refused == 0
        and outcome.answered_rps >= _CARRIED * outcome.offered_rps
        and outcome.p99_ms <= p99_limit_ms
    )


def bottleneck_of(outcome: Outcome) -> str:
    shares = {
        "gateway": outcome.gateway_share,
        "replica": outcome.replica_share,
        "nic": outcome.nic_share,
        "controller": outcome.controller_share,
    }
    return max(shares, key=lambda name: shares[name])


def upper_bound_rps(cluster: Cluster, costs: Costs) -> float:
    """No load above this can be carried: gateways that handle only requests, replicas with full batches only."""
    gateways = cluster.nodes * cluster.gateways_per_node / costs.request_s
    full_s = costs.replica_batch_s + costs.replica_row_s * cluster.max_batch
    replicas = cluster.nodes * cluster.replicas_per_node * cluster.max_batch / full_s
    return min(gateways, replicas)


def find_saturation(
    cluster: Cluster, costs: Costs, requests: int, seed: int = 0, p99_limit_ms: float = P99_LIMIT_MS
) -> tuple[float, Outcome]:
    """The highest load that is carried, by bisection below the upper bound; 0 and the lightest load if no load is
    carried.

    Args:
        cluster: what runs where.
        costs: what each step costs.
        requests: how many each run simulates (its length follows from the load).
        seed: of the arrivals.
        p99_limit_ms: the latency that the load must keep.
    """

    def run(rate_rps: float) -> Outcome:
        return simulate(cluster, costs, rate_rps, requests / rate_rps, seed)

    low_rps, high_rps = 0.0, upper_bound_rps(cluster, costs)
    best = run(high_rps / 100)
    for _ in range(SEARCH_STEPS):
        rate_rps = (low_rps + high_rps) / 2
        outcome = run(rate_rps)
        if carries(outcome, p99_limit_ms):
            low_rps, best = rate_rps, outcome
        else:
            high_rps = rate_rps
    return low_rps, best


def sweep_nodes(
    template: Cluster,
    costs: Costs,
    nodes: Sequence[int],
    requests_per_gateway: int,
    seed: int,
    say: Callable[[str], None],
) -> list[Saturation]:
    """The same nodes in clusters of several sizes."""
    found: list[Saturation] = []
    for count in nodes:
        cluster = msgspec.structs.replace(template, nodes=count)
        requests = requests_per_gateway * count * cluster.gateways_per_node
        rate_rps, outcome = find_saturation(cluster, costs, requests, seed)
        per_node = rate_rps / count
        first = found[0].rps_per_node if found else per_node
        one = Saturation(
            cluster, outcome, bottleneck_of(outcome), round(per_node, 1), round(per_node / first, 4) if first else 0.0
        )
        found.append(one)
        say(f"simulated {count} nodes: {rate_rps:,.0f} req/s, {one.bottleneck} first, batches of {outcome.mean_batch}")
    return found
