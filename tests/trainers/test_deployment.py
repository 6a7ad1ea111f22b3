from pathlib import Path

import pytest

from divisions.control import EngineChoice, Placement
from divisions.errors import OverCommitError, PipelineError
from divisions.pipeline.definition import DataPrep, Deployment, Pipeline, Serving
from divisions.prediction_log import LogPolicy
from divisions.status import ControllerStatus, ReplicaStatus
from divisions.versions import RegisteredVersion, ValidationStatus
from tests.trainers.churn import SCHEMA
from trainers.deployment import Usage, check_gpus, rollout_spec, usage_of
from trainers.training.capacity import NodeCapacity

T4_NODE = NodeCapacity(num_cpus=8.0, memory_gb=64.0, num_gpus=1.0, accelerator_types=frozenset({"T4"}))
CPU_NODE = NodeCapacity(num_cpus=8.0, memory_gb=64.0)
SERVING = Serving(replicas=2, num_gpus=1.0, canary_num_gpus=0.5, accelerator_type="T4", vram_gb=16.0)
FREE = Usage()
CANARY = Usage(has_stable=True, num_gpus=2.0)


def version():
    return RegisteredVersion(
        model="churn-predictor",
        version="3.2",
        registry_version=2,
        run_id="r-2",
        bundle_path=Path("/b"),
        bundle_sha256="0" * 64,
        validation_status=ValidationStatus.PASSED,
        metrics={},
    )


def spec(nodes, taken=FREE, serving=SERVING):
    pipeline = Pipeline("customer-churn-v3", DataPrep("x"), Deployment("churn"), serving=serving)
    rollout, notices = rollout_spec(pipeline, version(), SCHEMA, nodes, taken)
    return rollout.version, notices


def test_the_first_version_has_whole_gpus_and_a_canary_its_share():
    first, notices = spec([T4_NODE] * 3)
    assert (first.num_gpus, first.accelerator_type, first.vram_gb, first.gpu) == (1.0, "T4", 16.0, "T4/1")
    assert notices == ()
    canary, _ = spec([T4_NODE] * 3, CANARY)
    assert (canary.num_gpus, canary.gpu) == (0.5, "T4/0.5")


def test_over_commitment_is_refused_with_the_sum():
    with pytest.raises(OverCommitError, match=r"2 in use \+ 2 replicas x 0\.5 = 3 T4, the cluster has 2"):
        spec([T4_NODE] * 2, CANARY)
    with pytest.raises(OverCommitError, match=r"0 in use \+ 2 replicas x 1 = 2 T4, the cluster has 1"):
        spec([T4_NODE, CPU_NODE])


def test_fractions_that_fill_a_gpu_fit():
    check_gpus(10, 0.1, None, [T4_NODE], 0.0)
    check_gpus(3, 0.1, None, [T4_NODE], 0.7)


def test_a_cluster_without_such_gpus_serves_on_cpus_and_says_so():
    for nodes in ([CPU_NODE], [NodeCapacity(8.0, 64.0, 8.0, frozenset({"A100"}))], []):
        on_cpu, notices = spec(nodes, CANARY)
        assert (on_cpu.num_gpus, on_cpu.accelerator_type, on_cpu.vram_gb, on_cpu.gpu) == (0.0, None, None, "")
        assert notices == ("serving asks for 0.5 T4 per replica, the cluster has none: serving on CPUs",)


def test_versions_inside_gateways_have_no_gpu():
    hosted, notices = spec([T4_NODE], serving=Serving(num_gpus=1.0, placement=Placement.IN_PROCESS))
    assert (hosted.num_gpus, notices) == (0.0, ())


def test_a_forced_engine_is_in_the_spec():
    forced, _ = spec([T4_NODE] * 3, serving=Serving(num_gpus=0.5, engine=EngineChoice.TENSORRT))
    assert forced.engine is EngineChoice.TENSORRT


def test_the_policy_of_the_prediction_log_is_in_the_spec_and_its_columns_are_checked():
    policy = LogPolicy(hash=(SCHEMA.entity,))
    logged, _ = spec([CPU_NODE], serving=Serving(log=policy))
    assert logged.log == policy
    assert spec([CPU_NODE], serving=Serving())[0].log is None
    with pytest.raises(PipelineError, match="'custmer_id', which the log does not have"):
        spec([CPU_NODE], serving=Serving(log=LogPolicy(hash=("custmer_id",))))


def test_what_is_in_use_is_read_from_the_status():
    def replica(name, gpu):
        return ReplicaStatus(name, True, "Running", 0, 1.0, "", "", gpu, "3.1", "stable", 10_000, 1, "")

    status = ControllerStatus(1, (replica("a", "T4/1"), replica("b", "T4/0.5"), replica("c", "")))
    assert usage_of(status, "churn") == Usage(False, 1.5)
