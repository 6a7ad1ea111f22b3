import pytest

from divisions.pipeline.definition import Resources
from trainers.training.capacity import Allotment, NodeCapacity, allot, has_gpu, shrink_to_free

LAPTOP = NodeCapacity(num_cpus=2.0, memory_gb=6.0)
T4_NODE = NodeCapacity(num_cpus=8.0, memory_gb=64.0, num_gpus=1.0, accelerator_types=frozenset({"T4"}))
T4 = Resources(num_cpus=1.0, num_gpus=1.0, accelerator_type="T4", vram_gb=16.0)


def test_a_request_that_fits_gives_no_notice():
    given = allot("training", T4, 1, [LAPTOP, T4_NODE])
    assert given == Allotment(1.0, 1.0, "T4", 0.0, 1)


def test_a_gpu_that_the_cluster_lacks_becomes_cpus_with_one_notice():
    given = allot("training", T4, 1, [LAPTOP])
    assert (given.num_gpus, given.accelerator_type, given.num_cpus) == (0.0, None, 1.0)
    assert given.notices == ("training asks for a T4, the cluster has none: using CPUs",)


def test_another_kind_of_gpu_is_not_the_one_that_was_asked_for():
    a100 = NodeCapacity(8.0, 64.0, 1.0, frozenset({"A100"}))
    assert allot("training", T4, 1, [a100]).num_gpus == 0.0
    assert has_gpu([a100], 0.5)
    assert not has_gpu([a100], 0.5, "T4")
    assert not has_gpu([LAPTOP], 0.5)


def test_cpus_and_memory_are_cut_to_the_largest_node():
    given = allot("data_prep", Resources(num_cpus=4.0, memory_gb=8.0), 1, [LAPTOP])
    assert (given.num_cpus, given.memory_gb) == (2.0, 6.0)
    assert len(given.notices) == 2


def test_workers_that_fit_no_node_are_left_out():
    given = allot("training", Resources(num_cpus=1.0), 5, [LAPTOP, LAPTOP])
    assert given.count == 4
    assert given.notices == ("training asks for 5 workers, the cluster has room for 4",)


@pytest.mark.parametrize(("free_cpus", "num_cpus"), [(8.0, 2.0), (2.0, 1.0), (3.0, 1.5), (1.9, None), (0.0, None)])
def test_two_workers_shrink_to_the_free_cpus_but_not_below_one_each(free_cpus, num_cpus):
    settled = shrink_to_free(Allotment(2.0, 0.0, None, 4.0, 2), free_cpus, free_memory_gb=4.0)
    assert (settled and settled.num_cpus) == num_cpus
    if settled:
        assert settled.memory_gb == 2.0
