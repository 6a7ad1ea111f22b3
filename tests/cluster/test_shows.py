"""A cluster of three hosts under load: a canary, the loss of each kind of host, and partitions.

``--long`` adds the variants that take minutes: each cable alone, and an outage that costs a node its membership.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
import pytest

from benchmarks.harness.machine import describe_machine
from benchmarks.harness.results import encode_result
from benchmarks.stress.loss_result import Loss, LossesResult
from divisions.status import RolloutStatus
from tests.cluster import ray_nodes
from tests.cluster.network import Host, Network, wait_until
from tests.cluster.product import ENDPOINT, Product
from tests.cluster.services import Services
from tests.cluster.watch import Load, Watch, sum_up, under_load, watched

RATE_RPS = 34.0
"""On each of the three gateways."""
CUT_S = 20.0
NOTHING = "nothing"
ENDED = frozenset({"PROMOTED", "ROLLED_BACK", "HOLD"})


@pytest.fixture(scope="module")
def product(network: Network, services: Services, tmp_path_factory, request) -> Product:
    """A cluster that serves a version of a pipeline that ran on a client machine."""
    product = Product(network, services, tmp_path_factory.mktemp("product"))
    if not request.config.getoption("--losses"):  # what is measured has the default deadline
        product.gateway["DIVISIONS_REQUEST_TIMEOUT_MS"] = "8000"  # this machine may stall; what is lost still fails
    product.start()
    with watched(product.watch()) as watch:
        version = product.run_pipeline()
        watch.wait_for({"PROMOTED"}, version)
    return product


@pytest.fixture(scope="module", autouse=True)
def kept(request: pytest.FixtureRequest, product: Product) -> Iterator[None]:
    """`--losses FILE` keeps what the tests measure, beside what an earlier run measured of other faults."""
    file, machine = request.config.getoption("--losses"), describe_machine()
    yield
    if file and product.measured:
        before = msgspec.json.decode(file.read_bytes(), type=LossesResult).losses if file.exists() else ()
        losses = {loss.name: loss for loss in (*before, *product.measured)}
        file.write_text(encode_result(LossesResult(machine, len(product.hosts), RATE_RPS, tuple(losses.values()))))


@pytest.fixture
def watch(product: Product) -> Iterator[Watch]:
    """Looks at a cluster that is whole, and makes it whole again."""
    with watched(product.watch()) as watch:
        product.be_whole(watch)
        yield watch
        product.be_whole(watch)


def weights(status: RolloutStatus) -> list[int]:
    return [entry.weight_bp for entry in status.history if entry.phase in {"STEP", "BAKE", "PROMOTED"}]


def test_a_canary_gets_all_traffic_through_a_gateway_on_each_host(product: Product, watch: Watch, tmp_path):
    with under_load(product.hosts, ENDPOINT, product.holdout, RATE_RPS, tmp_path) as load:
        began_s = time.time()
        version = product.roll_out()
        end = watch.wait_for(ENDED, version)
        told(NOTHING, load, product, watch, set(), began_s)
    assert end.phase == "PROMOTED", end.message
    assert weights(end) == sorted(weights(end))


def at_first_step(product: Product, watch: Watch) -> str:
    """Starts a rollout that stays at its first step until requests come, however slow this machine is."""
    version = product.roll_out()
    watch.wait_for({"STEP"}, version)
    return version


def lose(product: Product, watch: Watch, host: Host, name: str, folder: Path, back: Callable[[], None]) -> Loss:
    """Takes a host's power away in the middle of a rollout, which goes on to its end without repeating a step."""
    version = at_first_step(product, watch)
    with under_load(product.hosts, ENDPOINT, product.holdout, RATE_RPS, folder) as load:
        lost_s = time.time()
        host.kill()
        back()
        end = watch.wait_for(ENDED, version)
        loss = told(name, load, product, watch, {host.name}, lost_s)
    assert end.phase == "PROMOTED", end.message
    assert weights(end) == sorted(weights(end)), "no step is repeated"
    return loss


def abort_and_lose(
    product: Product, watch: Watch, host: Host, name: str, folder: Path, back: Callable[[], None]
) -> Loss:
    """Takes a host's power away as soon as an abort was acknowledged, which nothing undoes."""
    other = next(one for one in product.hosts if one is not host)
    version = at_first_step(product, watch)
    before = watch.rollout
    assert before is not None
    with under_load(product.hosts, ENDPOINT, product.holdout, RATE_RPS, folder) as load:
        watch.client(other).rollout(ENDPOINT).abort()
        lost_s = time.time()
        host.kill()
        back()
        product.be_whole(watch)
        loss = told(name, load, product, watch, {host.name}, lost_s)
        end = watch.wait_for(ENDED, version)
    assert end.phase == "ROLLED_BACK", end.message
    assert (end.stable_version, end.actual_weight_bp) == (before.stable_version, 0)
    aborted = [entry.phase for entry in end.history].index("ROLLING_BACK")
    assert not {entry.weight_bp for entry in end.history[aborted:]} - {0}, "the abort stands"
    return loss


def told(name: str, load: Load, product: Product, watch: Watch, lost: set[str], lost_s: float) -> Loss:
    time.sleep(1)  # what is under way ends
    full_s = watch.full_since_s(lost_s) if name != NOTHING else None  # a rollout grows by itself
    loss = sum_up(name, load, watch, lost, (lost_s, time.time()), full_s)
    product.measured.append(loss)
    print(loss, load.reasons(), watch.changes(lost_s))
    assert loss.failed_elsewhere == 0, load.reasons()
    return loss


AFTER = {lose: "", abort_and_lose: ", as an abort is acknowledged"}


def stay_away() -> None:
    """The host comes back after the rollout has ended."""


@pytest.mark.parametrize("act", [lose, pytest.param(abort_and_lose, marks=pytest.mark.long)])
def test_loss_of_the_controllers_host(product: Product, watch: Watch, tmp_path, act):
    host = product.move_controller(watch, away_from=product.head)
    back = stay_away if act is lose else lambda: product.start_node(host)
    act(product, watch, host, f"the controller's host{AFTER[act]}", tmp_path, back)


@pytest.mark.parametrize(
    ("act", "away_s"),
    [
        (lose, 3),
        pytest.param(abort_and_lose, 3, marks=pytest.mark.long),
        pytest.param(lose, 90, marks=pytest.mark.long),
    ],
)
def test_loss_of_the_head(product: Product, watch: Watch, tmp_path, act, away_s):
    def back() -> None:
        time.sleep(away_s)
        product.start_node(product.head)

    product.spread(watch)  # Serve may have put both replicas of the version that serves onto the head's host
    act(product, watch, product.head, f"Ray's head, back after {away_s} s{AFTER[act]}", tmp_path, back)


@pytest.mark.long
def test_loss_of_a_worker(product: Product, watch: Watch, tmp_path):
    controllers = product.controllers_host(watch)
    worker = next(host for host in product.hosts if host not in (product.head, controllers))
    lose(product, watch, worker, "a worker: replicas and a gateway", tmp_path, stay_away)


def cut(product: Product, watch: Watch, pairs: Sequence[tuple[Host, Host]], name: str, folder: Path) -> None:
    """Cuts the cables of pairs of hosts in the middle of a rollout, for 20 s. Both go on seeing all others."""
    product.spread(watch)  # a gateway can only use what it reaches
    nodes = watch.alive()
    version = at_first_step(product, watch)
    with under_load(product.hosts, ENDPOINT, product.holdout, RATE_RPS, folder) as load:
        cut_s = time.time()
        for left, right in pairs:
            product.network.cut_pair(left, right)
        time.sleep(CUT_S)
        product.network.mend_all()
        end = watch.wait_for(ENDED, version)
        wait_until(watch.is_at_full_strength, "all replicas")
        told(name, load, product, watch, set(), cut_s)
    assert end.phase == "PROMOTED", end.message
    assert weights(end) == sorted(weights(end)), "no step is repeated"
    assert watch.alive() == nodes, "no node was given up"


def test_a_partition_of_all_hosts_fails_no_request_and_costs_no_node(product: Product, watch: Watch, tmp_path):
    one, two, three = product.hosts
    cut(product, watch, [(one, two), (one, three), (two, three)], "cut: every host from the two others, 20 s", tmp_path)


@pytest.mark.long
@pytest.mark.parametrize(
    "pair",
    ["head and the controller's host", "head and another", "the controller's host and another",
     "the controller's host and PostgreSQL", "head and its Redis"],
)  # fmt: skip
def test_a_cut_cable_fails_no_request_and_costs_no_node(product: Product, watch: Watch, tmp_path, pair):
    controllers = product.move_controller(watch, away_from=product.head)
    named = {
        "head": product.head,
        "the controller's host": controllers,
        "another": next(host for host in product.hosts if host not in (product.head, controllers)),
        "PostgreSQL": product.services.postgres,
        "its Redis": product.services.redis,
    }
    left, right = (named[name] for name in pair.split(" and "))
    cut(product, watch, [(left, right)], f"cut: {pair}, 20 s", tmp_path)


@pytest.mark.long
def test_a_controller_that_ray_has_given_up_cannot_write(product: Product, watch: Watch, tmp_path):
    """Its host is cut off from Ray's head alone, until Ray starts another controller."""
    old = product.move_controller(watch, away_from=product.head)
    with under_load(product.hosts, ENDPOINT, product.holdout, RATE_RPS, tmp_path) as load:
        version = product.roll_out("slow")
        watch.wait_for({"STEP"}, version)
        cut_s = time.time()
        product.network.cut_pair(product.head, old)
        wait_until(lambda: product.controllers_host(watch) is not old, "another controller", 240)
        ended_s = wait_until(lambda: not product.controllers(old), "the older controller ends", 120)
        print(
            f"another controller after {time.time() - cut_s - ended_s:.1f} s, the older one ended {ended_s:.1f} s later"
        )
        product.network.mend_all()
        end = watch.wait_for(ENDED, version)
        product.be_whole(watch)
        name = "cut: head from the controller's host, until Ray gave that up"
        told(name, load, product, watch, {old.name}, cut_s)
    assert end.phase == "PROMOTED", end.message
    assert weights(end) == sorted(weights(end)), "no step is repeated"


@pytest.mark.long
def test_a_node_without_our_code_does_not_end_the_controller(product: Product, watch: Watch, network: Network):
    """Ray starts it there, too, when it starts it again; in time it is elsewhere."""
    bare = network.host("four")
    bare.disk("/root/shadow/divisions").mkdir(parents=True)
    bare.disk("/root/shadow/divisions/__init__.py").write_text("raise ImportError('not installed')")
    bare.disk(ray_nodes.TOKEN).write_text(product.head.disk(ray_nodes.TOKEN).read_text())
    ray_nodes.start_worker(bare, product.head, {}, {"PYTHONPATH": "/root/shadow"})
    try:
        wait_until(lambda: "refused" in {node.state for node in watch.latest.nodes}, "the node is refused")

        def was_tried_there() -> bool:
            product.move_controller(watch, away_from=product.controllers_host(watch))
            logs = bare.disk("/tmp/ray").glob("session_2*/logs/worker-*.out")
            return any("cannot start on this node" in log.read_text() for log in logs)

        wait_until(was_tried_there, "the controller is started on the node without code", 240)
        assert watch.is_fresh()
    finally:
        bare.kill()
