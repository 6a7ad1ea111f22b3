"""What a call of the controller costs on a real Ray: the CPU time of its process, for each kind of call."""

from __future__ import annotations

import itertools
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import ray

from benchmarks.harness.command import Say
from benchmarks.harness.process_stats import cpu_s
from benchmarks.lab.capacity import Calls
from benchmarks.lab.micro_cases import sample_report
from divisions.control import FULL_BP, EndpointRoute, ReplicaAddress, RoutingTable, VersionRoute, VersionSpec
from divisions.deployment import deployment_of, write_node
from divisions.schema import FeatureSchema
from divisions.settings import Settings

CALLS = 2_000
AT_ONCE = 100
_REPLICAS = 2_000


def controller_calls(seed: int, say: Say) -> Calls:
    """Starts Ray and a controller in a folder of their own, measures, and ends both."""
    say("starting Ray, to measure the controller's calls")
    with tempfile.TemporaryDirectory(prefix="dvc") as folder:
        home = Path(folder) / "home"
        home.mkdir()
        ray.init(
            address="local",
            num_cpus=2,
            include_dashboard=False,
            _temp_dir=f"{folder}/ray",
            log_to_driver=False,
            configure_logging=False,
        )
        try:
            return _measure(home, seed, say)
        finally:
            ray.shutdown()


def _measure(home: Path, seed: int, say: Say) -> Calls:
    from router.control.ray_start import get_or_create_controller

    settings = Settings(home=home)
    deployment = deployment_of(settings)
    write_node(home, deployment, {})
    actor = get_or_create_controller(settings, deployment, "none:none")
    pid = ray.get(actor.__ray_call__.remote(_pid))
    sample = sample_report(seed)
    # Each second's report counts once, so each call has another tick.
    reports = (msgspec.msgpack.encode(msgspec.structs.replace(sample, tick=tick)) for tick in itertools.count(1))
    address = msgspec.msgpack.encode(_address(0))
    kinds: dict[str, Callable[[], Any]] = {
        "report": lambda: actor.report.remote(next(reports)),
        "heartbeat": lambda: actor.register_replica.remote(address),
        "poll": lambda: actor.poll_table.remote(-1, 0.0),
    }
    spent_s = {}
    for name, call in kinds.items():
        _run(call, AT_ONCE)
        before_s = cpu_s(pid)
        _run(call, CALLS)
        spent_s[name] = (cpu_s(pid) - before_s) / CALLS
        say(f"the controller takes {spent_s[name] * 1e6:,.0f} us for a {name}")
    replica_bytes = len(_table(_REPLICAS)) / _REPLICAS
    return Calls(
        round(spent_s["report"], 7),
        round(spent_s["heartbeat"], 7),
        round(spent_s["poll"], 7),
        round(replica_bytes, 1),
        _copy_byte_s(_table(_REPLICAS)),
    )


def _run(call: Callable[[], Any], count: int) -> None:
    waiting: list[Any] = []
    for _ in range(count):
        waiting.append(call())
        if len(waiting) >= AT_ONCE:
            done, waiting = ray.wait(waiting, num_returns=AT_ONCE // 2)
            ray.get(done)
    ray.get(waiting)


def _pid(actor: object) -> int:
    del actor
    return os.getpid()


def _address(number: int) -> ReplicaAddress:
    app = "churn-predictor-v3.1"
    return ReplicaAddress(
        f"{app}#{app}#churn-predictor#{number:08x}",
        app,
        f"{number:056x}",
        f"/tmp/divisions-1000-0123456789/r-{number:08x}-{number}.sock",
        f"10.0.{number // 256 % 256}.{number % 256}:{40_000 + number % 20_000}",
        256,
        10_000 + number,
        "onnxruntime-cpu",
        1.8e9,
    )


def _table(replicas: int) -> bytes:
    spec = VersionSpec("churn-predictor", "3.1", "sha256:" + "0" * 64, "0" * 64, FeatureSchema(()))
    route = VersionRoute(spec, FULL_BP, False, tuple(_address(number) for number in range(replicas)))
    return msgspec.msgpack.encode(RoutingTable(1, (EndpointRoute("churn", "salt", (route,)),)))


def _copy_byte_s(data: bytes) -> float:
    """Ray serialises a result with one copy at least, and the kernel takes another; both are memory traffic."""
    began_s = time.perf_counter()
    for _ in range(200):
        bytearray(data)
        bytearray(data)
    return round((time.perf_counter() - began_s) / 200 / len(data), 15)
