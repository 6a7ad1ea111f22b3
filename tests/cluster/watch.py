"""Open-loop load on the gateway of every host, and looks at the cluster's status beside it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.harness.probes import Periodically
from benchmarks.load.load_process import LoadProcess
from benchmarks.load.samples import Samples
from benchmarks.stress.loss_result import Loss, failures_in, loss_of
from divisions.errors import DivisionsError
from divisions.sdk.calls import ServiceStatus
from divisions.sdk.client import Client
from divisions.status import RolloutStatus
from tests.cluster.network import Host, wait_until

PORT = 8000
_LOOK_S = 0.25
_LONGEST_S = 900.0
_DEADLINE_S = 10.0
"""Later than any gateway's own."""


@dataclass(slots=True)
class Watch:
    """Asks the gateways in turn, first the one that answered last, and keeps what the controller said."""

    hosts: list[Host]
    token: str
    endpoint: str
    answered_s: list[float] = field(default_factory=list)
    full: list[tuple[float, bool]] = field(default_factory=list)
    latest: ServiceStatus | None = None
    clients: dict[str, Client] = field(default_factory=dict)
    first: int = 0

    def client(self, host: Host) -> Client:
        if host.name not in self.clients:
            url = f"http://{host.address}:{PORT}"
            self.clients[host.name] = Client(url, token=self.token, timeout_s=5.0)
        return self.clients[host.name]

    def look(self) -> None:
        for step in range(len(self.hosts)):
            number = (self.first + step) % len(self.hosts)
            with contextlib.suppress(DivisionsError):
                self.latest = self.client(self.hosts[number]).status()
                self.answered_s.append(time.time())
                self.full.append((time.time(), self.is_at_full_strength()))
                self.first = number
                return

    @property
    def rollout(self) -> RolloutStatus | None:
        found = self.latest.rollouts if self.latest else ()
        return next((one for one in found if one.endpoint == self.endpoint), None)

    def alive(self) -> set[str]:
        """Ray's ids of the nodes that live."""
        found = self.latest.nodes if self.latest else ()
        return {node.node_id for node in found if node.state == "alive"}

    def is_at_full_strength(self) -> bool:
        """Whether every version that should have replicas has all of them."""
        now = self.rollout
        is_over = now is not None and now.phase in {"ROLLING_BACK", "DRAINING", "ROLLED_BACK"}
        return (
            now is not None
            and self.is_fresh()
            and now.wanted_stable_replicas > 0
            and now.stable_replicas >= now.wanted_stable_replicas
            and (is_over or now.canary_replicas >= now.wanted_canary_replicas)
        )

    def full_since_s(self, since_s: float) -> float | None:
        """When every version had all its replicas again, for good, after ``since_s``; that itself if it always had."""
        lacking = [at_s for at_s, is_full in self.full if at_s >= since_s and not is_full]
        if not lacking:
            return since_s
        return next((at_s for at_s, is_full in self.full if at_s > lacking[-1]), None)

    def changes(self, since_s: float) -> list[str]:
        """When the strength changed after ``since_s``, and to what; for a test that fails."""
        seen = [(at_s, is_full) for at_s, is_full in self.full if at_s >= since_s]
        turns = [now for before, now in zip([None, *seen], seen, strict=False) if before is None or before[1] != now[1]]
        return [f"{at_s - since_s:.1f} s {'full' if is_full else 'lacking'}" for at_s, is_full in turns]

    def is_fresh(self) -> bool:
        return bool(self.answered_s) and time.time() - self.answered_s[-1] < 2.0

    def wait_for(self, phases: Collection[str], version: str = "", timeout_s: float = 240.0) -> RolloutStatus:
        """Waits until the rollout is in one of ``phases`` (and of ``version``)."""

        def is_there() -> bool:
            now = self.rollout
            named = {now.canary_version, now.stable_version} if now else set()
            return now is not None and now.phase in phases and (not version or version in named)

        try:
            wait_until(is_there, f"phase {' or '.join(phases)} of {version or 'the rollout'}", timeout_s)
        except AssertionError as error:
            now = self.rollout
            seen = f"{now.phase} {now.message} {now.rollback_reason}" if now else "no rollout seen"
            raise AssertionError(f"{error}; it is {seen}") from None
        assert self.rollout is not None
        return self.rollout


@dataclass(slots=True)
class Load:
    """The load on every host's gateway, from another machine."""

    runs: dict[str, LoadProcess]
    folder: Path
    samples: dict[str, Samples] = field(default_factory=dict)

    def stop(self) -> Mapping[str, Samples]:
        if not self.samples:
            for name, run in self.runs.items():
                result = run.stop()
                self.samples[name] = Samples.load(self.folder / f"{name}.npz")
                (self.folder / f"{name}.reasons").write_text(repr(result.reasons))
        return self.samples

    def failed(self, span_s: tuple[float, float]) -> dict[str, tuple[int, int]]:
        """Requests and failures in a span, by host."""
        return {name: failures_in(run, span_s) for name, run in self.stop().items()}

    def reasons(self) -> str:
        self.stop()
        return ", ".join(f"{name}: {(self.folder / f'{name}.reasons').read_text()}" for name in self.runs)


@contextlib.contextmanager
def under_load(hosts: list[Host], endpoint: str, rows: Path, rate_rps: float, folder: Path) -> Iterator[Load]:
    """``rate_rps`` requests a second to each host's gateway."""
    folder.mkdir(exist_ok=True)
    runs: dict[str, LoadProcess] = {}
    try:
        for number, host in enumerate(hosts):
            url = f"http://{host.address}:{PORT}/api/v2/predict/{endpoint}"
            samples, log = folder / f"{host.name}.npz", folder / f"{host.name}.log"
            runs[host.name] = LoadProcess(url, rows, rate_rps, _LONGEST_S, samples, log, number, deadline_s=_DEADLINE_S)
        for run in runs.values():
            run.wait_until_running()
        yield Load(runs, folder)
    finally:
        for run in runs.values():
            run.close()


@contextlib.contextmanager
def watched(watch: Watch) -> Iterator[Watch]:
    with Periodically(watch.look, _LOOK_S):
        yield watch


def sum_up(
    name: str, load: Load, watch: Watch, lost: Collection[str], span_s: tuple[float, float], full_s: float | None
) -> Loss:
    end = watch.rollout.phase if watch.rollout else ""
    return loss_of(name, load.stop(), lost, span_s, watch.answered_s, full_s, end)
