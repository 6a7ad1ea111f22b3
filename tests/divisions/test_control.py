"""What a struct says where a caller says nothing: nothing was counted, nothing is known, nothing is special."""

import msgspec
import pytest

from divisions import control, reports, status
from divisions.analysis_spec import AnalysisSpec
from divisions.control import (
    EndpointRoute,
    Faults,
    ReplicaAddress,
    RolloutSpec,
    RoutingTable,
    VersionRoute,
    VersionSpec,
)
from divisions.reports import ArmSample, GatewayReport, VersionReport
from divisions.scaling import Scaling
from divisions.schema import FeatureSchema
from divisions.status import Evidence, Explanation, RolloutStatus
from tests.builders import rollout_status


@pytest.mark.parametrize("struct", [Evidence(), ArmSample()])
def test_by_default_nothing_was_counted_and_nothing_is_known(struct):
    assert not any(msgspec.structs.asdict(struct).values())


def test_an_explanation_without_numbers_has_none():
    said = msgspec.structs.asdict(Explanation("operator", "aborted"))
    assert (said.pop("guard"), said.pop("text")) == ("operator", "aborted")
    assert not any(said.values())


def test_a_report_without_more_has_no_scores_and_no_connections():
    assert VersionReport("v", 1, 0, {}).scores == {}
    assert GatewayReport("g", 1, 2, ()).open_connections == 0


def test_the_usual_analysis_is_that_of_the_documents():
    analysis = AnalysisSpec()
    assert (analysis.tolerance, analysis.tolerance_ms) == (0.104, 0.2)
    assert (analysis.alpha, analysis.error_alpha) == (0.01, 0.005)
    assert (analysis.min_dwell_s, analysis.max_dwell_s, analysis.bake_s) == (60, 600, 300)
    assert (analysis.min_samples, analysis.holdback_bp) == ((3_000, 5_500), 300)
    assert (analysis.warmup_s, analysis.warmup_requests) == (60, 200)
    assert (analysis.deploy_deadline_s, analysis.drain_s, analysis.keep_stable_s) == (180, 5, 600)
    assert (analysis.guards, analysis.shadow_s, analysis.on_inconclusive) == (("latency", "errors"), 0, "hold")


def test_a_version_has_two_replicas_of_half_a_cpu_and_no_gpu():
    version = VersionSpec("m", "3.1", "/b", "0" * 64, FeatureSchema(()))
    assert (version.replicas, version.num_cpus, version.num_gpus, version.max_batch) == (2, 0.5, 0, 256)
    assert version.app_name == "m-v3.1"
    assert version.faults is None


def test_a_rollout_has_the_steps_and_the_policy_of_the_documents():
    spec = RolloutSpec("churn", VERSION)
    assert (spec.steps_bp, spec.rollback_policy) == ((2_000, 5_000, 10_000), "auto")


VERSION = VersionSpec("m", "3.1", "/b", "0" * 64, FeatureSchema(()))


def test_what_a_table_does_not_say_is_not_done():
    route = EndpointRoute("churn", "salt", ())
    assert (route.trial_bp, route.mirror_bp, route.warmup_s, route.warmup_requests) == ((), 0, 0.0, 0)
    assert VersionRoute(VERSION, 10_000, is_canary=False).replicas == ()
    table = RoutingTable(1)
    assert (table.endpoints, table.hosted) == ((), ())


def test_what_a_replica_does_not_say_is_not_known():
    address = ReplicaAddress("r", "m-v3.1", "node", "/r.sock", "", 8)
    assert (address.pid, address.engine, address.started_at_s, address.engine_note) == (0, "", 0.0, "")
    assert (VERSION.registry_version, VERSION.run_id) == (0, "")


def test_faults_that_are_not_named_do_not_happen():
    assert not any(msgspec.structs.asdict(Faults()).values())


SPECIAL = {
    ("VersionSpec", "replicas"),
    ("VersionSpec", "num_cpus"),
    ("VersionSpec", "max_batch"),
    ("LimitShares", "gateways"),
    ("RolloutStatus", "is_compared"),
    ("LogPolicy", "sample_bp"),
    ("LogPolicy", "roll_s"),
    ("Scaling", "target_utilization"),
    ("Scaling", "scale_down_after_s"),
}
"""Defaults that are no zeros; other tests hold them to the documents."""


@pytest.mark.parametrize("module", [control, reports, status])
def test_numbers_that_nobody_set_are_zero(module):
    structs = [each for each in vars(module).values() if isinstance(each, type) and issubclass(each, msgspec.Struct)]
    checked = 0
    for struct in set(structs) - {AnalysisSpec}:
        defaults = struct.__struct_defaults__
        names = struct.__struct_fields__[len(struct.__struct_fields__) - len(defaults) :]
        for name, value in zip(names, defaults, strict=True):
            if isinstance(value, int | float) and (struct.__name__, name) not in SPECIAL:
                assert value == 0, f"{struct.__name__}.{name}"
                checked += 1
    assert checked > 1


def test_the_number_of_replicas_follows_the_load_as_the_documents_say():
    scaling = Scaling(1, 2)
    assert (scaling.target_utilization, scaling.scale_down_after_s) == (0.6, 300)


def test_the_status_of_a_rollout_counts_nothing_by_itself():
    status = rollout_status()
    defaults = RolloutStatus.__struct_defaults__
    fields = dict(zip(RolloutStatus.__struct_fields__[-len(defaults) :], defaults, strict=True))
    for name in ("stable_replicas", "canary_replicas", "wanted_stable_replicas", "wanted_canary_replicas"):
        assert fields[name] == 0
    assert fields["is_compared"] is True
    assert (fields["unwritten"], fields["spec_sha256"], fields["history"]) == ("", "", ())
    assert status.endpoint


@pytest.mark.parametrize(
    ("num_gpus", "accelerator", "shown"), [(0.0, "", ""), (0.0, "T4", ""), (0.5, "T4", "T4/0.5"), (1.0, "", "GPU/1")]
)
def test_a_share_of_a_gpu_is_shown_with_its_kind(num_gpus, accelerator, shown):
    version = VersionSpec(
        "m", "3.1", "/b", "0" * 64, FeatureSchema(()), num_gpus=num_gpus, accelerator_type=accelerator
    )
    assert version.gpu == shown
