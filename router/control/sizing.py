"""How many replicas each version should have: the loads of gateways, the rollouts' weights, and the policy. No I/O.

`plan` is asked once a second for every endpoint. While a rollout compares two versions:

- stable is sized for all traffic, because a rollback gives it all of it back; it never gets smaller;
- the canary is sized for its share, but never so that its replicas have more to do than stable's
  (`router.scaling.arms`); it never gets smaller either;
- before a step raises the weight, the canary gets what the next weight needs, and the step waits for it;
- seconds in which replicas are added are not compared (`is_settling`): the arms have unlike capacity meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from divisions.clock import Clock
from divisions.control import FULL_BP, Placement, VersionSpec
from divisions.reports import GatewayReport
from router.control.endpoints import Endpoints
from router.rollouts import canary, records
from router.rollouts.monitor import Monitor
from router.rollouts.records import EndpointRecord
from router.scaling.arms import canary_replicas
from router.scaling.load import Demand, LoadLedger
from router.scaling.policy import Sizer

SETTLE_S = 60.0
"""How long after a change of numbers a missing replica counts as one that is still starting."""
SETTLE_BUDGET = 120
"""At most so many seconds of one step are not compared. More would be a blind guard."""


@dataclass(frozen=True, slots=True)
class Plan:
    """New numbers of replicas by application, and why; empty where nothing changes."""

    sizes: Mapping[str, int] = field(default_factory=dict)
    note: str = ""


@dataclass(slots=True)
class _Settling:
    sizes: Mapping[str, int]
    step: tuple[int, int]
    changed_s: float = -SETTLE_S
    left_out: int = 0


class Sizing:
    """See the module.

    Args:
        endpoints: the records, and the replicas that answer.
        monitor: the gateways that live, and the verdicts' evidence.
        clock: the time.
    """

    def __init__(self, endpoints: Endpoints, monitor: Monitor, clock: Clock) -> None:
        self._endpoints = endpoints
        self._monitor = monitor
        self._clock = clock
        self._ledger = LoadLedger()
        self._sizers: dict[str, Sizer] = {}
        self._reasons: dict[str, str] = {}
        self._settling: dict[str, _Settling] = {}

    def report(self, report: GatewayReport) -> None:
        """Takes a gateway's loads."""
        self._ledger.add(report, self._clock.monotonic_s())

    def plan(self, record: EndpointRecord) -> Plan:
        """What should change now; call it once a second."""
        wanted = records.wanted_versions(record, self._clock.wall_s())
        scaled = {name: version for name, version in wanted.items() if _is_scaled(version)}
        if not scaled:
            return Plan()
        now_s = self._clock.monotonic_s()
        self._ledger.forget(self._monitor.gateways(now_s))
        total = self._total(record, now_s)
        sizes: dict[str, int] = {}
        notes: list[str] = []
        # Stable comes first: the canary's number follows from its number.
        for name, version in sorted(scaled.items(), key=lambda item: _is_canary(record, item[1])):
            size, reason = self._size(record, version, total, {**{n: v.replicas for n, v in wanted.items()}, **sizes})
            if size != version.replicas:
                sizes[name] = size
                self._reasons[name] = reason
                notes.append(f"{version.version} from {version.replicas} to {size} replicas: {reason}")
        return Plan(sizes, "; ".join(notes))

    def next_replicas(self, record: EndpointRecord) -> int:
        """How many replicas the canary needs before its next weight; 0 if that does not follow from the load."""
        version = record.rollout.spec.version
        next_bp = canary.next_bp(record.rollout.state, record.rollout.policy)
        total = self._total(record, self._clock.monotonic_s())
        if not next_bp or not _is_scaled(version) or record.rollout.stable is None or total is None:
            return 0
        return self._canary_size(record, version, total, next_bp, records.size(record, record.rollout.stable))

    def is_settling(self, record: EndpointRecord) -> bool:
        """Whether replicas are being added while two versions are compared; call it once a second."""
        rollout = record.rollout
        step = rollout.number, canary.judged_step(rollout.state, rollout.policy)
        seen = self._settling.get(record.endpoint)
        if seen is None or seen.step != step:
            changed_s = seen.changed_s if seen is not None else -SETTLE_S
            sizes = seen.sizes if seen is not None else record.sizes
            seen = self._settling[record.endpoint] = _Settling(sizes, step, changed_s)
        now_s = self._clock.monotonic_s()
        if seen.sizes != record.sizes:
            seen.sizes, seen.changed_s = record.sizes, now_s
        arms = (rollout.stable, rollout.spec.version)
        is_full = all(self._endpoints.capacity(version).is_full for version in arms if version is not None)
        if is_full or now_s - seen.changed_s > SETTLE_S or seen.left_out >= SETTLE_BUDGET:
            return False
        seen.left_out += 1
        return True

    def notes(self) -> dict[str, tuple[float | None, str]]:
        """By application: the use of its present replicas, and why it has its number."""
        return {
            name: (self._utilization(name, sizer), self._reasons.get(name, "")) for name, sizer in self._sizers.items()
        }

    def _size(
        self, record: EndpointRecord, version: VersionSpec, total: float | None, sizes: Mapping[str, int]
    ) -> tuple[int, str]:
        sizer = self._sizer(version)
        own = self._demand(version)
        stable = record.rollout.stable
        sizer.observe(self._asked(record, version, total, own), self._clock.monotonic_s())
        present = version.replicas
        decision = sizer.decide(present, self._clock.monotonic_s())
        if not _is_compared(record) or stable is None:
            return decision.replicas, decision.reason
        if not _is_canary(record, version):
            return max(decision.replicas, present), decision.reason
        size = max(decision.replicas, present)
        reason = decision.reason
        if total is not None:
            equal = self._canary_size(record, version, total, self._weight_bp(record), sizes[stable.app_name])
            if equal > size:
                size, reason = (
                    equal,
                    f"so that its replicas have no more to do than the {sizes[stable.app_name]} of stable",
                )
        return size, reason

    def _canary_size(
        self, record: EndpointRecord, version: VersionSpec, total: float, weight_bp: int, stable_replicas: int
    ) -> int:
        sizer = self._sizer(version)
        own_need, full_need = sizer.need_for(total * weight_bp / FULL_BP), sizer.need_for(total)
        size = canary_replicas(stable_replicas, own_need, full_need, weight_bp)
        return min(size, sizer.scaling.max)

    def _weight_bp(self, record: EndpointRecord) -> int:
        """The weight that the canary needs replicas for: its own, or the next one once its step has passed."""
        rollout = record.rollout
        present_bp = canary.sized_bp(rollout.state, rollout.policy)
        analysis = self._monitor.analysis(record.endpoint)
        if analysis is None:
            return present_bp
        judgement = analysis.judgement(self._clock.monotonic_s())
        if not canary.has_passed(rollout.state, judgement, rollout.policy):
            return present_bp
        return max(present_bp, canary.next_bp(rollout.state, rollout.policy))

    def _asked(
        self, record: EndpointRecord, version: VersionSpec, total: float | None, own: Demand | None
    ) -> Demand | None:
        """What a version is sized for: all traffic, or the canary's share of it."""
        if total is None or own is None:
            return None
        share = self._weight_bp(record) / FULL_BP if _is_canary(record, version) and _is_compared(record) else 1.0
        rate = own.replica_rows_per_s
        if rate is None and record.rollout.stable is not None:  # Until it has shown its own rate: that of stable.
            known = self._sizers.get(record.rollout.stable.app_name)
            sizer = self._sizer(version)
            rate = known.replica_rows_per_s if known is not None and sizer.replica_rows_per_s is None else None
        return replace(own, rows_per_s=max(own.rows_per_s, total * share), replica_rows_per_s=rate)

    def _total(self, record: EndpointRecord, now_s: float) -> float | None:
        """The rows per second of all of the endpoint's traffic; None if a gateway's load is not known."""
        gateways = self._monitor.gateways(now_s)
        total = 0.0
        for share in records.shares(record):
            version = share.version
            demand = self._ledger.demand(version.app_name, version.max_batch, gateways, now_s)
            if demand is None:
                return None
            total += demand.rows_per_s
        return total

    def _demand(self, version: VersionSpec) -> Demand | None:
        now_s = self._clock.monotonic_s()
        return self._ledger.demand(version.app_name, version.max_batch, self._monitor.gateways(now_s), now_s)

    def _sizer(self, version: VersionSpec) -> Sizer:
        assert version.scaling is not None
        sizer = self._sizers.get(version.app_name)
        if sizer is None or sizer.scaling != version.scaling:
            sizer = self._sizers[version.app_name] = Sizer(version.scaling)
        return sizer

    def _utilization(self, app_name: str, sizer: Sizer) -> float | None:
        ready = self._endpoints.num_ready(app_name)
        rows_per_s, rate = sizer.rows_per_s, sizer.replica_rows_per_s
        return rows_per_s / (rate * ready) if rows_per_s is not None and rate and ready else None


def _is_scaled(version: VersionSpec) -> bool:
    return version.scaling is not None and version.placement is Placement.REPLICAS


def _is_canary(record: EndpointRecord, version: VersionSpec) -> bool:
    return version.app_name == record.rollout.spec.version.app_name


def _is_compared(record: EndpointRecord) -> bool:
    return record.rollout.stable is not None and not canary.is_finished(record.rollout.state)
