"""Divisions as a system of a comparison: started by its own command line, or a gateway that is already up."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.bench_bundle import ENDPOINT, MODEL, Workload
from benchmarks.peers.server_process import post
from benchmarks.product_cluster import ProductCluster
from divisions.control import FULL_BP, RolloutSpec, VersionSpec

NAME = "divisions"
_VERSION = "1.1"
_WARM_S = 120.0


@dataclass(frozen=True, slots=True)
class DivisionsGateway:
    """The default placement: gateway and replicas in processes of their own."""

    replicas: int = 1
    name: str = NAME

    @contextlib.contextmanager
    def serving(self, workload: Workload, work: Path) -> Iterator[str]:
        cluster = ProductCluster(work / "home", lambda _line: None, work / "server.log", is_quiet=True)
        (work / "home").mkdir()
        version = VersionSpec(
            model=MODEL,
            version=_VERSION,
            bundle_path=str(workload.bundle),
            bundle_sha256=workload.bundle_sha256,
            schema=workload.schema,
            replicas=self.replicas,
        )
        try:
            cluster.up()
            with cluster.client() as client:
                client.start_rollout(RolloutSpec(ENDPOINT, version, steps_bp=(FULL_BP,)))
            cluster.wait_for(ENDPOINT, _VERSION, {"PROMOTED"}, _WARM_S, lambda _text: None)
            url = f"{cluster.url}/api/v2/predict/{ENDPOINT}"
            if problem := post(url, workload.body):
                raise RuntimeError(f"{url} does not answer the benchmark's request: {problem}")
            yield url
        finally:
            cluster.down()


@dataclass(frozen=True, slots=True)
class RunningGateway:
    """A gateway that is already up; it is left as it is."""

    url: str
    name: str = NAME

    @contextlib.contextmanager
    def serving(self, workload: Workload, work: Path) -> Iterator[str]:
        del work
        if problem := post(self.url, workload.body):
            raise RuntimeError(f"{self.url} does not answer the benchmark's request: {problem}")
        yield self.url
