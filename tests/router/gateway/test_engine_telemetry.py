"""What a replica runs on, and why on nothing better: in the status and as a metric."""

from types import SimpleNamespace

from divisions.commands.status import render_status
from divisions.control import EndpointRoute, ReplicaAddress, VersionRoute, VersionSpec
from divisions.schema import FeatureSchema
from divisions.status import ControllerStatus
from router.control.replica_register import ReplicaRegister
from router.control.routing import replica_statuses
from router.gateway.telemetry import GatewayCollector, Vitals, render
from router.predict.endpoint import EndpointState

NOTE = "tensorrt: tensorrt is not installed"
SPEC = VersionSpec("churn-predictor", "3.2", "/b", "0" * 64, FeatureSchema(()), num_gpus=0.5, accelerator_type="T4")


def address(name, engine="onnxruntime-cuda", note=NOTE):
    return ReplicaAddress(name, SPEC.app_name, "node-1", "/s", "", 8, 7, engine, 0.0, note)


def test_the_status_shows_share_and_engine_as_the_product_page_does():
    register = ReplicaRegister()
    register.heartbeat(address("churn-predictor-v3.2#a"))
    (status,) = replica_statuses([], {SPEC.app_name: SPEC}, register, 10.0)
    assert (status.gpu, status.engine, status.engine_note) == ("T4/0.5", "onnxruntime-cuda", NOTE)
    text = render_status(ControllerStatus(1, (status,)))
    head, replica, _, engines, engine = text.splitlines()
    assert (head.split()[-1], replica.split()[-1]) == ("GPU", "T4/0.5")
    assert engines.split() == ["VERSION", "ENGINE", "BETTER", "ENGINES", "PASSED", "OVER"]
    assert engine == f"3.2       onnxruntime-cuda   {NOTE}"


def test_a_version_without_a_gpu_has_no_share():
    spec = VersionSpec("churn-predictor", "3.2", "/b", "0" * 64, FeatureSchema(()))
    register = ReplicaRegister()
    register.heartbeat(address("a", "onnxruntime-cpu", ""))
    (status,) = replica_statuses([], {SPEC.app_name: spec}, register, 10.0)
    assert "<none>" in render_status(ControllerStatus(1, (status,))).splitlines()[1]


def test_a_replica_that_ended_as_it_was_told_to_is_not_lost():
    register = ReplicaRegister()
    register.heartbeat(address("churn-predictor-v3.2#a"))
    (going,) = replica_statuses([], {}, register, 10.0)
    assert (going.status, going.version) == ("Terminating", "3.2")
    for second in range(9):
        register.tick(second)
    (lost,) = replica_statuses([], {SPEC.app_name: SPEC}, register, 10.0)
    assert lost.status == "Lost"
    assert replica_statuses([], {}, register, 10.0) == ()


def test_engines_are_counted_with_the_reason():
    replicas = (address("a"), address("b"), address("c", "tensorrt-fp16", ""))
    route = EndpointRoute("churn", "s", (VersionRoute(SPEC, 10_000, False, replicas),))
    endpoint = SimpleNamespace(name="churn", route=route, pools=(), state=EndpointState())
    dispatcher = SimpleNamespace(endpoints={"churn": endpoint}, epoch=1)
    text = render(GatewayCollector(dispatcher, {}, {}, lambda: Vitals(0, 0, 0.0))).decode()
    labels = (
        'endpoint="churn",engine="onnxruntime-cuda",gateway="0",'
        'passed_over="tensorrt: tensorrt is not installed",version="3.2"'
    )
    assert f"divisions_engine_replicas{{{labels}}} 2.0" in text
    assert 'engine="tensorrt-fp16",gateway="0",passed_over="",version="3.2"} 1.0' in text


def test_a_replica_that_is_not_ready_says_why_and_so_does_a_version_without_any():
    register = ReplicaRegister()
    register.heartbeat(address("churn-predictor-v3.2#a"))
    reasons = {SPEC.app_name: "no memory"}
    (ready,) = replica_statuses([], {SPEC.app_name: SPEC}, register, 10.0, reasons)
    assert ready.reason == ""
    for second in range(9):
        register.tick(second)
    (lost,) = replica_statuses([], {SPEC.app_name: SPEC}, register, 10.0, reasons)
    assert (lost.status, lost.reason) == ("Lost", "no memory")
    (silent,) = replica_statuses([], {SPEC.app_name: SPEC}, register, 10.0)
    assert silent.reason == "no heartbeat for more than 6 s"
    (failing,) = replica_statuses([], {SPEC.app_name: SPEC}, ReplicaRegister(), 10.0, reasons)
    assert (failing.name, failing.ready, failing.status) == (SPEC.app_name, False, "Failing")
    assert replica_statuses([], {SPEC.app_name: SPEC}, ReplicaRegister(), 10.0, {SPEC.app_name: ""}) == ()
    assert replica_statuses([], {}, ReplicaRegister(), 10.0, reasons) == ()
    lines = render_status(ControllerStatus(1, (failing,))).splitlines()
    assert lines[1].split()[:3] == [SPEC.app_name, "0/1", "Failing"]
    assert lines[-1].split(maxsplit=1) == [SPEC.app_name, "no memory"]
