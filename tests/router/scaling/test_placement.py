"""What fits on a cluster's nodes, and what is said of what does not."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from router.scaling.placement import Cluster, Node, lack, room, with_replicas
from tests.router.rollout_world import version

BIG = Node("big", {"CPU": 8.0, "GPU": 2.0, "accelerator_type:T4": 1.0}, {"CPU": 8.0, "GPU": 1.5})
SMALL = Node("small", {"CPU": 2.0}, {"CPU": 1.25}, {"zone": "eu"})


def test_replicas_fill_what_is_free_of_each_node():
    assert room([BIG, SMALL], version("1", num_cpus=0.5)) == 16 + 2
    assert room([BIG, SMALL], version("1", num_cpus=0.5, num_gpus=0.5)) == 3
    assert room([], version("1")) == 0


def test_ten_tenths_are_one():
    assert room([Node("n", {"CPU": 1.0}, {"CPU": 1.0})], version("1", num_cpus=0.1)) == 10


def test_a_replica_that_takes_nothing_always_fits():
    assert room([SMALL], version("1", num_cpus=0.0)) >= 1_000


def test_only_nodes_with_its_labels_and_its_gpu_count():
    assert room([BIG, SMALL], version("1", nodes={"zone": "eu"})) == 2
    assert room([BIG, SMALL], version("1", nodes={"zone": "us"})) == 0
    assert room([BIG, SMALL], version("1", num_gpus=0.5, accelerator_type="T4")) == 3
    assert room([BIG, SMALL], version("1", num_gpus=0.5, accelerator_type="A100")) == 0


def test_a_node_that_is_being_drained_takes_nothing():
    leaving = Node("leaving", {"CPU": 8.0}, {"CPU": 8.0}, is_draining=True)
    assert room([leaving], version("1")) == 0
    assert "stays (all are being drained)" in lack([leaving], version("1"), 1)


def test_a_lack_names_the_need_and_every_node():
    assert lack([BIG, SMALL], version("1", num_cpus=1.0), 9) == ""
    assert lack([BIG, SMALL], version("1", num_cpus=1.0), 12) == (
        "the cluster has room for 9 of 12 more replicas: each takes 1 CPUs; free: big 8 of 8 CPUs; small 1.25 of 2 CPUs"
    )
    assert lack([SMALL], version("1", num_gpus=1.0, accelerator_type="T4"), 1) == (
        "the cluster has room for 0 of 1 more replicas: no node has a T4"
    )
    assert lack([BIG], version("1", nodes={"zone": "us"}), 2).endswith("no node is labelled zone=us")


def test_many_nodes_are_counted_and_not_all_named():
    nodes = [Node(f"n{number}", {"CPU": 1.0}, {}) for number in range(40)]
    assert lack(nodes, version("1"), 1).endswith("; n5 0 of 1 CPUs; and 34 more")
    assert lack(nodes[:7], version("1"), 1).endswith("; n5 0 of 1 CPUs; and 1 more")
    assert lack(nodes[:6], version("1"), 1).endswith("; n5 0 of 1 CPUs")


def test_what_waits_is_known_by_its_size():
    waiting = (({"CPU": 0.5}, 3), ({"CPU": 0.5, "GPU": 1.0}, 2), ({"CPU": 0.5, "GPU": 0.0, "node:x": 0.001}, 1))
    assert Cluster((), waiting).num_waiting(version("1", num_cpus=0.5)) == 4
    assert Cluster((), waiting).num_waiting(version("1", num_cpus=0.5, num_gpus=1.0)) == 2


def test_no_replica_is_put_on_a_node_that_may_not_hold_it():
    assert with_replicas([BIG, SMALL], version("1", nodes={"zone": "eu"}, num_cpus=0.5), 5)[0].free == BIG.free


def test_replicas_take_nothing_of_what_they_do_not_need():
    (left,) = with_replicas([Node("n", {}, {"CPU": 2.0, "memory": 7.0})], version("1", num_cpus=0.5), 3)
    assert left.free == {"CPU": 0.5, "memory": 7.0}


amounts = st.integers(0, 80).map(lambda tenths: tenths / 10)


@given(st.lists(amounts, max_size=5), st.integers(1, 20).map(lambda tenths: tenths / 10), st.integers(0, 60))
def test_room_that_was_taken_is_gone(free, num_cpus, more):
    nodes = [Node(f"n{number}", {"CPU": 8.0}, {"CPU": each}) for number, each in enumerate(free)]
    wanted = version("1", num_cpus=num_cpus)
    before = room(nodes, wanted)
    assert room(with_replicas(nodes, wanted, more), wanted) == max(0, before - more)
    assert bool(lack(nodes, wanted, more)) == (more > before)
