"""Values that the rollout tests share: a version, a policy, a controller with a scripted world around it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from divisions.access.store import TokenStore
from divisions.analysis_spec import AnalysisSpec
from divisions.clock import ManualClock
from divisions.control import EndpointRoute, ReplicaAddress, RolloutSpec, VersionSpec
from divisions.reports import (
    ArmSample,
    BreakerTrip,
    EndpointReport,
    GatewayReport,
    SaltScores,
    SplitReport,
    VersionLoad,
    VersionReport,
)
from divisions.schema import FeatureSchema
from divisions.status import RolloutStatus
from divisions.versions import RegisteredVersion, ValidationStatus
from router.control.audit_desk import AuditSink
from router.control.controller import Controller
from router.evidence.drift import count_scores
from router.evidence.histogram import count, to_sparse
from router.journal.journal import Journal
from tests.router.control_doubles import MemoryEvents
from tests.router.journal_databases import MakeDatabase, sqlite_database

ANALYSIS = AnalysisSpec(
    min_dwell_s=6,
    max_dwell_s=60,
    min_samples=(100, 150),
    bake_s=6,
    warmup_s=2,
    warmup_requests=50,
    deploy_deadline_s=20,
    drain_s=3,
    keep_stable_s=30,
)

OPENED: list[Journal] = []
"""The journals of worlds. `tests/router/conftest.py` closes those of a test at its end: each has files open."""


def version(label: str, **changes) -> VersionSpec:
    return VersionSpec("churn-predictor", label, f"/bundles/{label}", label * 8, FeatureSchema(()), **changes)


def spec(label: str, **changes) -> RolloutSpec:
    return RolloutSpec("churn", version(label), analysis=changes.pop("analysis", ANALYSIS), **changes)


def registered(label: str, **changes) -> RegisteredVersion:
    """The registry's entry of a version, trained by tim, with all that policies ask about."""
    facts = {"data_sha256": "d", "code": "c", "schema_sha256": "s", "pipeline_sha256": "p"}
    lineage = facts | {"trainer": "tim", "report_sha256": "e" * 64} | changes.pop("lineage", {})
    values = {"validation_status": ValidationStatus.PASSED, "metrics": {"auc": 0.9}} | changes
    path, sha256 = Path(f"/bundles/{label}"), label * 8
    known = {name: text for name, text in lineage.items() if text}
    return RegisteredVersion("churn-predictor", label, 2, "r", path, sha256, lineage=known, **values)


@dataclass
class World:
    """A controller, its journal, replicas that heartbeat and one gateway that reports; time moves by the second.

    ``latency_s`` and ``error_rate`` are per version; requests arrive at ``rps`` and follow the published weights.
    """

    folder: Path
    rps: int = 300
    latency_s: dict[str, float] = field(default_factory=dict)
    error_rate: dict[str, float] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)
    lost_replicas: dict[str, int] = field(default_factory=dict)
    """How many of a version's replicas have died for good."""
    most_replicas: dict[str, int] = field(default_factory=dict)
    """How many of a version's replicas the cluster has room for."""
    loses_reports: bool = False
    is_stale: bool = False
    die_before: list[str] = field(default_factory=list)
    is_disk_full: bool = False
    """Whether every write of the journal fails."""
    dies_at: Callable[..., bool] | None = None
    """Asked before and after every write of the journal, with its kind."""
    realised_bp: int | None = None
    """The share of customers that really reach the canary, where gateways split wrongly."""
    mean_score: dict[str, float] = field(default_factory=dict)
    trip: BreakerTrip | None = None
    make_database: MakeDatabase = sqlite_database
    salt_scores: SaltScores | None = None
    replica_rows_per_s: float = 0.0
    """What a replica can do, as the gateway measures it; 0: it reports no loads, as older releases did."""

    token_store: TokenStore | None = None
    audit: AuditSink | None = None
    environment: str = ""
    registered: Callable[[], list[RegisteredVersion] | None] = lambda: None
    has_engine: bool = False

    def __post_init__(self):
        self.clock = ManualClock()
        self.generator = np.random.default_rng(7)
        self.table = None
        self.salts = iter(f"salt-{number}" for number in range(10_000))
        self.failures: dict[str, str] = {}
        self.writes: list[str] = []
        self.events = MemoryEvents()
        self.start_controller()

    def start_controller(self):
        """Starts a controller on the journal, as Ray does after the last one was killed."""
        self.journal = Journal(self.make_database(self.folder), self._before_write, self._after_write)
        OPENED.append(self.journal)
        self.controller = Controller(
            self.journal,
            self.clock,
            lambda: next(self.salts),
            allow_faults=False,
            events=self.events,
            token_store=self.token_store,
            audit=self.audit,
            registered=lambda: self.registered(),  # noqa: PLW0108  # a test may set it later
            environment=self.environment,
            has_engine=self.has_engine,
        )
        self.controller.start()

    def restart_controller(self):
        self.journal.close()
        self.start_controller()

    def _after_write(self, kind: str):
        if self.dies_at is not None and self.dies_at(kind, is_written=True):
            raise KeyboardInterrupt("kill -9")

    def _before_write(self, kind: str):
        self.writes.append(kind)
        if self.dies_at is not None and self.dies_at(kind, is_written=False):
            raise KeyboardInterrupt("kill -9")
        if self.is_disk_full:
            raise sqlite3.OperationalError("database or disk is full")
        if self.die_before and self.die_before[0] == kind:
            self.die_before.pop(0)
            raise KeyboardInterrupt("kill -9")

    def second(self):
        """One second of heartbeats, requests, reports and a tick of the controller."""
        self.clock.advance(1.0)
        now_s = self.clock.monotonic_s()
        for app_name, wanted in self.controller.wanted().items():
            if wanted.version not in self.silent:
                most = min(wanted.replicas, self.most_replicas.get(wanted.version, wanted.replicas))
                for number in range(self.lost_replicas.get(wanted.version, 0), most):
                    self.controller.register_replica(_replica(app_name, number))
        self._follow_table()
        if not self.loses_reports:
            report = self._report(int(now_s) - 2)
            if report is not None:
                self.controller.report(report)
        self.controller.applications_failed(self.failures)
        self.controller.tick()
        self._follow_table()

    def seconds(self, number: int):
        for _ in range(number):
            self.second()

    def until(self, phase: str, at_most_s: int = 120, index: int | None = None) -> int:
        """Lets time pass until the rollout is in a phase; returns how long it took."""
        for passed_s in range(at_most_s):
            status = self.status()
            if status.phase == phase and index in (None, status.step_index):
                return passed_s
            self.second()
        raise AssertionError(f"still {self.status().phase} after {at_most_s} s: {self.status().message}")

    def status(self) -> RolloutStatus:
        (status,) = self.controller.status().rollouts
        return status

    def weights(self) -> dict[str, int]:
        """What the gateway splits by."""
        if self.table is None:
            return {}
        return {
            route.version.version: route.weight_bp for endpoint in self.table.endpoints for route in endpoint.versions
        }

    def deploy_first(self, label: str = "3.1"):
        self.controller.start_rollout(spec(label))
        self.until("PROMOTED")
        self.seconds(40)

    def _follow_table(self):
        if self.is_stale:
            return
        if self.table is not None:
            self.controller.check_epoch(self.table.epoch)
        table = self.controller.table
        if self.table is None or table.epoch > self.table.epoch:
            self.table = table

    def _report(self, tick: int) -> GatewayReport | None:
        if self.table is None or not self.table.endpoints:
            return None
        reports = []
        endpoint = self.table.endpoints[0]
        for route in endpoint.versions:
            label = route.version.version
            share_bp = route.weight_bp or (endpoint.mirror_bp if route.is_canary else 0)
            requests = int(self.generator.poisson(self.rps * share_bp / 10_000))
            values_s = self.generator.lognormal(np.log(self.latency_s.get(label, 0.0008)), 0.4, requests)
            values_s[self.generator.random(requests) < self.error_rate.get(label, 0.0)] = np.inf
            errors = int(np.isinf(values_s).sum())
            mean = self.mean_score.get(label, 0.3)
            scores = count_scores([self.generator.beta(8 * mean, 8 * (1 - mean), requests).astype("<f4").tobytes()])
            reports.append(VersionReport(route.version.app_name, requests, errors, to_sparse(count(values_s)), scores))
        report = EndpointReport("churn", tuple(reports), self._split(endpoint), self.salt_scores, self.trip)
        loads = tuple(self._load(each) for each in reports) if self.replica_rows_per_s else ()
        return GatewayReport("g1", self.table.epoch, tick, (report,), 0, loads, 1.0 if loads else 0.0)

    def _load(self, counts: VersionReport) -> VersionLoad:
        """Batches of one row; the fit is believed up to four rows, which take as long as one."""
        duration_s = 4 / self.replica_rows_per_s
        return VersionLoad(counts.app_name, counts.requests, counts.requests, 0, 0, duration_s, 0.0, 1)

    def _split(self, endpoint: EndpointRoute) -> SplitReport | None:
        """Distinct customers, half as many as requests."""
        weight_bp = next((route.weight_bp for route in endpoint.versions if route.is_canary), 0)
        if not weight_bp:
            return None
        share = (weight_bp if self.realised_bp is None else self.realised_bp) / 10_000
        digests = [int(each) for each in self.generator.integers(0, 2**64, self.rps // 2, dtype=np.uint64)]
        is_canary = self.generator.random(len(digests)) < share
        stable, canary = (
            ArmSample(tuple(digest for digest, mine in zip(digests, is_canary, strict=True) if mine == arm))
            for arm in (False, True)
        )
        return SplitReport(endpoint.salt, weight_bp, 0, stable, canary)


def _replica(app_name: str, number: int) -> ReplicaAddress:
    return ReplicaAddress(f"{app_name}#{number}", app_name, "node", f"/run/{number}.sock", "", 256)


def world_with_engine(folder: Path) -> World:
    """One whose first version serves, and whose controller asks an engine of policies."""
    it = World(folder)
    it.deploy_first()
    it.has_engine = True
    it.restart_controller()
    it.seconds(5)
    return it
