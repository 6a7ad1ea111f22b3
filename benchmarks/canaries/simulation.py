"""One simulated rollout. The modules that run in production judge it and move it on.

From production come the gateway's `SplitMonitor` (breaker, distinct customers), `CustomerLoad` and `SaltSearch`, the
hash of the split, histograms and reports, the controller's `Monitor` (windows, analysis, evidence) and
`canary.advance`. Simulated are requests, time, one gateway and one controller. A second is reported two seconds after
it began, and judged when the report arrives. A changed weight is in force from the next whole second on.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import numpy as np

from benchmarks.canaries.scenarios import Scenario
from benchmarks.canaries.traffic import Flags, Floats, Integers, Requests, Traffic, queued
from divisions.analysis_spec import AnalysisSpec
from divisions.control import FULL_BP
from divisions.reports import EndpointReport, GatewayReport, SaltScores, VersionReport
from divisions.schema import FeatureSchema
from router.evidence import histogram, salts, split
from router.evidence.drift import NO_BINS
from router.evidence.salts import CANDIDATES, CustomerLoad
from router.predict.split_monitor import SaltSearch, SplitMonitor
from router.rollouts import canary
from router.rollouts.analysis import RolloutAnalysis
from router.rollouts.canary import Capacity, Held, Policy, Promoted, RollingBack, State, Stepping, Ticked
from router.rollouts.monitor import Arms, Monitor

ENDPOINT, STABLE, CANARY = "simulated", "model-v1", "model-v2"
STEPS_BP = (2_000, 5_000, FULL_BP)
BEFORE_S = 64
"""Of traffic before the rollout: a minute to choose the salt by, and what is on its way."""
HORIZON_S = 2_000
REPORT_S = 2
"""A gateway reports a second when it is so old."""
_SWEEPS = 100
_SCHEMA = FeatureSchema(())


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a rollout ended.

    Attributes:
        ending: ``rolled back``, ``promoted``, ``held`` or ``unfinished``.
        guard: which one decided; empty for a promotion.
        delay_s: from the first bad request to the decision; negative if it was decided before.
        canary_requests: that the canary had got by then, from the onset on.
        harmed_requests: how many of them failed or were slower because of the canary.
    """

    ending: str
    guard: str
    delay_s: float
    canary_requests: int
    harmed_requests: int


class SplitTable:
    """Which customers are the canary's, by the production hash. Digests are **Shape** ``[customers]``."""

    def __init__(self, salt: str, num_customers: int) -> None:
        salted = salt.encode()
        digests = [split.digest(salted, key_of(customer)) for customer in range(num_customers)]
        self.digests = np.array(digests, dtype=np.uint64)
        self._places = (self.digests >> np.uint64(split.SPARE_BITS)).astype(np.int64)

    def are_canary(self, customer: Integers, weight_bp: int) -> Flags:
        chosen: Flags = self._places[customer] < split.threshold(weight_bp)
        return chosen


def key_of(customer: int) -> bytes:
    return b"customer-%d" % customer


class _Gateway:
    """One gateway: splits requests, watches the split, and sums up seconds."""

    def __init__(self, scenario: Scenario, traffic: Traffic) -> None:
        self._scenario, self._traffic = scenario, traffic
        self._table: SplitTable | None = None
        self._watch: SplitMonitor | None = None
        self._seen = np.zeros(scenario.service.num_customers, dtype=np.bool_)
        self._warm = 0
        self._weight_bp = 0
        self.load = CustomerLoad()

    def choose_salt(self, base: str, weights_bp: tuple[int, ...], now_tick: int) -> SaltScores | None:
        search = SaltSearch(self.load)
        for _ in range(CANDIDATES + 1):
            search.sweep(base, weights_bp, now_tick)
        return search.scores()

    def split_by(self, salt: str, weight_bp: int) -> None:
        if self._watch is None or self._table is None:
            self._table = SplitTable(salt, len(self._seen))
            self._watch = SplitMonitor(salt, CANARY, weight_bp, NO_BINS, (_SCHEMA, _SCHEMA))
        self._watch.set_weight(weight_bp)
        self._weight_bp = weight_bp
        self._seen[:] = False

    def answer(self, tick: int, requests: Requests) -> tuple[EndpointReport, Flags, float | None]:
        """Answers a second's requests.

        Returns:
            What will be reported, which requests are the canary's, and the moment at which the breaker tripped.
        """
        service = self._scenario.service
        if self._watch is None or self._table is None:
            stable_s = requests.latency_stable_s
            if service.utilisation:
                stable_s = queued(stable_s, requests.waits, service, service.utilisation * self._traffic.load(tick))
            answered = np.isfinite(stable_s)
            keys = [key_of(customer) for customer in requests.customer[answered].tolist()]
            self.load.add(tick, keys, stable_s[answered].tolist())
            return EndpointReport(ENDPOINT, (_report(STABLE, stable_s),)), np.zeros(len(stable_s), np.bool_), None
        mine = self._table.are_canary(requests.customer, self._weight_bp)
        stable_s, canary_s = requests.latency_stable_s[~mine], requests.latency_canary_s[mine]
        if self._scenario.warm_requests:
            canary_s = self._warmed(canary_s, requests.at_s[mine])
        if service.utilisation:
            share, load = self._weight_bp / FULL_BP, service.utilisation * self._traffic.load(tick)
            stable_s = queued(stable_s, requests.waits[~mine], service, load * (1.0 - share))
            canary_s = queued(canary_s, requests.waits[mine], service, load * share / self._scenario.capacity)
        tripped_s = self._sweep(tick, requests, mine, stable_s, canary_s)
        self._tell_customers(requests.customer, mine)
        versions = (_report(STABLE, stable_s), _report(CANARY, canary_s))
        return EndpointReport(ENDPOINT, versions, self._watch.report(), trip=self._watch.trip()), mine, tripped_s

    def _sweep(self, tick: int, requests: Requests, mine: Flags, stable_s: Floats, canary_s: Floats) -> float | None:
        """Lets the breaker look a hundred times; failures are told when they arrive, for they fail at once."""
        assert self._watch is not None
        when = ((requests.at_s - tick) * _SWEEPS).astype(np.int64)
        columns = [
            np.bincount(among, minlength=_SWEEPS).tolist()
            for arm, latency_s in ((when[~mine], stable_s), (when[mine], canary_s))
            for among in (arm, arm[np.isinf(latency_s)])
        ]
        update = self._watch.breaker.update
        for number, counts in enumerate(zip(*columns, strict=True)):
            if update(*counts):
                return tick + (number + 1) / _SWEEPS
        return None

    def _tell_customers(self, customer: Integers, mine: Flags) -> None:
        """Tells the split monitor which customers were seen. Customers that it has already would change nothing."""
        assert self._watch is not None
        assert self._table is not None
        new = ~self._seen[customer]
        if not new.any():
            return
        fresh, of_canary = customer[new], mine[new]
        self._seen[fresh] = True
        for arm, those in ((self._watch.stable, fresh[~of_canary]), (self._watch.canary, fresh[of_canary])):
            digests = self._table.digests[those]
            arm.digests.update(digests[(digests & np.uint64(arm.mask)) == 0].tolist())

    def _warmed(self, canary_s: Floats, at_s: Floats) -> Floats:
        first = np.argsort(at_s)[: max(0, self._scenario.warm_requests - self._warm)]
        self._warm += len(canary_s)
        warmed = canary_s.copy()
        warmed[first] *= self._scenario.warm_factor
        return warmed


def simulate(
    scenario: Scenario, rps: float, seed: int, analysis: AnalysisSpec | None = None, *, chooses_salt: bool = True
) -> Outcome:
    """One rollout, from a minute before it to its end.

    Args:
        scenario: what the canary does.
        rps: mean requests per second.
        seed: of everything random.
        analysis: how it is judged; the product's defaults.
        chooses_salt: whether the salt is chosen by the traffic before the rollout, as in production.
    """
    policy = Policy(STEPS_BP, analysis or AnalysisSpec())
    generator = np.random.default_rng(seed)
    traffic = Traffic(scenario, rps, generator, HORIZON_S, BEFORE_S)
    gateway, watch = _Gateway(scenario, traffic), Monitor()
    turn_s = float(generator.uniform(0.005, 0.05))  # reports are on their way so long; they are judged when they arrive
    salt = f"salt-{seed}"
    state: State = canary.start(-float(BEFORE_S))
    judge: RolloutAnalysis | None = None
    reports: deque[tuple[int, EndpointReport]] = deque()
    total = harmed = 0
    gaps: dict[int, tuple[float, ...]] = {}

    def arms(_endpoint: str) -> Arms | None:
        return Arms(STABLE, CANARY) if canary.canary_bp(state, policy) else None

    for tick, requests in traffic.seconds():
        report, mine, tripped_s = gateway.answer(tick, requests)
        reports.append((tick, report))
        now_s = tick + turn_s
        if tripped_s is not None and tripped_s < now_s + 1.0:
            # The trip travels with the next report; the gateway has stopped the canary by itself before.
            tripped = GatewayReport("gateway", 1, tick - REPORT_S, (EndpointReport(ENDPOINT, (), trip=report.trip),))
            watch.report(tripped, now_s, arms)
        if tick >= REPORT_S - BEFORE_S:
            told, what = reports.popleft()
            watch.report(GatewayReport("gateway", 1, told, (what,)), now_s, arms)
            watch.close_ticks(now_s, arms)
        if tick < -1:
            continue
        if judge is None and chooses_salt:
            weights_bp = canary.weights_bp(policy)
            scores = gateway.choose_salt(salt, weights_bp, tick)
            found = [scores] if scores else []
            index = salts.best(found, weights_bp)
            gaps = dict(zip(weights_bp, salts.gaps(found, weights_bp, index), strict=False))
            salt = salts.candidate(salt, index)
        before = state
        state = _turn(state, policy, judge, scenario, now_s)
        decided_s = tripped_s if isinstance(state, RollingBack) and tripped_s is not None else now_s
        affected = mine & (requests.at_s >= scenario.onset_s)
        if isinstance(state, RollingBack | Held | Promoted):
            affected &= requests.at_s < decided_s
        total += int(affected.sum())
        harmed += int((affected & requests.is_harmed).sum())
        if isinstance(state, RollingBack | Held | Promoted):
            ending = {RollingBack: "rolled back", Held: "held", Promoted: "promoted"}[type(state)]
            reason = "" if isinstance(state, Promoted) else state.reason
            return Outcome(ending, reason.partition(":")[0], decided_s - scenario.onset_s, total, harmed)
        if canary.canary_bp(state, policy) != canary.canary_bp(before, policy):
            judge = judge or watch.begin(ENDPOINT, policy.analysis)
            weight_bp = canary.canary_bp(state, policy)
            gateway.split_by(salt, weight_bp)
            index = canary.judged_step(state, policy)
            judge.enter_step(index, tick + 1, salt=salt, weight_bp=weight_bp, gaps=gaps.get(weight_bp, ()))
    return Outcome("unfinished", "", math.inf, total, harmed)


def _turn(state: State, policy: Policy, judge: RolloutAnalysis | None, scenario: Scenario, now_s: float) -> State:
    """The controller's turn; in the first one the canary is warm at once."""
    replicas = scenario.service.replicas
    lost = scenario.lost_replicas if now_s >= scenario.onset_s else 0
    while True:
        event = Ticked(
            now_s,
            stable=Capacity(replicas, replicas),
            canary=Capacity(replicas - lost, replicas),
            judgement=judge.judgement(now_s) if judge else canary.Judgement(),
            is_acknowledged=True,
        )
        state, _commands = canary.advance(state, event, policy)
        if judge is not None or isinstance(state, Stepping):
            return state


def _report(app_name: str, latency_s: Floats) -> VersionReport:
    buckets = histogram.to_sparse(histogram.count(latency_s))
    return VersionReport(app_name, len(latency_s), int(np.isinf(latency_s).sum()), buckets)
