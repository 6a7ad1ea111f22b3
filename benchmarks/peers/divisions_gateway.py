"""Divisions as a system of a comparison: started by its own command line, or a gateway that is already up."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness.bench_bundle import ENDPOINT, MODEL, Workload
from benchmarks.harness.peer import Served
from benchmarks.harness.product_cluster import ProductCluster, quiet_cluster
from benchmarks.peers.server_process import post
from divisions.control import FULL_BP, AccessPolicy, Faults, Placement, RolloutSpec, VersionSpec

NAME = "divisions"
_VERSION = "1.1"
_WARM_S = 120.0


@dataclass(frozen=True, slots=True)
class DivisionsGateway:
    """One gateway process; engines in processes of their own, or in the gateway's."""

    name: str = NAME
    note: str = "its own `up`, one gateway process, one replica process (the default placement)"
    placement: Placement = Placement.REPLICAS

    def prepare(self, build: Path, say: Callable[[str], None]) -> None:
        """It is there."""

    @contextlib.contextmanager
    def serving(self, workload: Workload, work: Path) -> Iterator[Served]:
        with quiet_cluster(work, lambda _line: None) as cluster:
            yield start_version(cluster, workload, placement=self.placement)


DIVISIONS = DivisionsGateway()
IN_PROCESS = DivisionsGateway(
    "divisions-in-process",
    "its own `up`, the model in the gateway's process (serving.placement: in_process)",
    Placement.IN_PROCESS,
)


def start_version(
    cluster: ProductCluster,
    workload: Workload,
    replicas: int = 1,
    placement: Placement = Placement.REPLICAS,
    max_batch: int = 256,
    batch_delay_ms: float = 0.0,
    needs_key: bool = False,
) -> Served:
    """Rolls the workload out on a cluster that is up, and waits until it serves.

    ``batch_delay_ms`` makes its replicas slower on purpose; the cluster must then be up with ``--allow-faults``. If the
    endpoint ``needs_key``, no request is tried.

    Raises:
        DivisionsError: the rollout did not get there.
        RuntimeError: the endpoint does not answer the workload's request.
    """
    version = VersionSpec(
        model=MODEL,
        version=_VERSION,
        bundle_path=str(workload.bundle),
        bundle_sha256=workload.bundle_sha256,
        schema=workload.schema,
        replicas=replicas,
        max_batch=max_batch,
        placement=placement,
        num_cpus=0.1,  # Ray's bookkeeping must not keep a replica from starting on a small machine
        access=AccessPolicy(require_key=needs_key),
        faults=Faults(batch_delay_ms=batch_delay_ms) if batch_delay_ms else None,
    )
    with cluster.client() as client:
        client.start_rollout(RolloutSpec(ENDPOINT, version, steps_bp=(FULL_BP,)))
    cluster.wait_for(ENDPOINT, _VERSION, {"PROMOTED"}, _WARM_S, lambda _text: None)
    url = f"{cluster.url}/api/v2/predict/{ENDPOINT}"
    problem = "" if needs_key else post(url, workload.body)
    if problem:
        raise RuntimeError(f"{url} does not answer the benchmark's request: {problem}")
    return Served(url, workload.body)


@dataclass(frozen=True, slots=True)
class RunningGateway:
    """A gateway that is already up; it is left as it is."""

    url: str
    name: str = NAME
    note: str = "a gateway that was up already"

    def prepare(self, build: Path, say: Callable[[str], None]) -> None:
        """It is there."""

    @contextlib.contextmanager
    def serving(self, workload: Workload, work: Path) -> Iterator[Served]:
        del work
        if problem := post(self.url, workload.body):
            raise RuntimeError(f"{self.url} does not answer the benchmark's request: {problem}")
        yield Served(self.url, workload.body)
