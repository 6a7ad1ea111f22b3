"""The analyses of running rollouts: begins them, tells them of steps, saves them in the journal and restores them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from divisions.control import FULL_BP, VersionSpec
from divisions.status import Evidence, Explanation
from router.evidence.drift import NO_BINS, InputBins
from router.journal.journal import Journal
from router.journal.writer import JournalWriter
from router.rollouts import canary
from router.rollouts.analysis import RolloutAnalysis
from router.rollouts.monitor import Arms, Monitor
from router.rollouts.records import EndpointRecord
from router.rollouts.states import State

EXPLAINED = frozenset({"latency", "errors", "breaker", "split", "inputs", "predictions", "undecided"})
"""The first words of reasons that an analysis can explain with counts."""


def arms(record: EndpointRecord) -> Arms | None:
    """The versions that the endpoint's rollout compares now; None when it compares none."""
    started = record.rollout
    if started.stable is None or canary.is_finished(started.state):
        return None
    if not started.canary_bp and not canary.mirror_bp(started.state, started.policy):
        return None
    return Arms(started.stable.app_name, started.spec.version.app_name)


class Analyses:
    """See the module.

    Args:
        journal: has the snapshots of an earlier controller.
        writer: writes snapshots.
        monitor: holds the analyses and feeds them.
        read_bins: reads the bins of a version's training data.
    """

    def __init__(
        self,
        journal: Journal,
        writer: JournalWriter,
        monitor: Monitor,
        read_bins: Callable[[VersionSpec], InputBins] = lambda version: NO_BINS,
    ) -> None:
        self._journal = journal
        self._writer = writer
        self._monitor = monitor
        self._read_bins = read_bins
        self._last: dict[str, tuple[int, Evidence]] = {}

    def resume(self, records: Mapping[str, EndpointRecord], now_s: float) -> None:
        """Goes on from the journal's snapshots after a restart."""
        for record in records.values():
            snapshot = self._journal.snapshot(record.endpoint, record.rollout.number)
            if canary.is_finished(record.rollout.state) and snapshot is not None:
                self._last[record.endpoint] = record.rollout.number, snapshot.totals
            if arms(record) is None:
                continue
            analysis = self._begun(record)
            index = canary.judged_step(record.rollout.state, record.rollout.policy)
            if snapshot is not None:
                analysis.restore(snapshot)
            if snapshot is None or snapshot.step_index != index:
                self._enter(analysis, record, now_s)
            else:
                started = record.rollout
                analysis.resume_step(salt=started.salt, weight_bp=started.canary_bp, gaps=started.present_gaps)
            self.applied(record.endpoint, now_s)

    def applied(self, endpoint: str, now_s: float) -> None:
        """Every gateway has the weight of the endpoint's step."""
        analysis = self._monitor.analysis(endpoint)
        if analysis is not None:
            analysis.applied(int(now_s) + 1)

    def enter_step(self, record: EndpointRecord, now_s: float) -> None:
        """Tells the rollout's analysis of the step that the record is in; begins one if there is none."""
        self._enter(self._monitor.analysis(record.endpoint) or self._begun(record), record, now_s)

    def explain(self, record: EndpointRecord, state: State) -> Explanation | None:
        """Why the rollout goes from ``record`` into ``state``, if that is a roll-back or a hold with a reason."""
        was = record.rollout.state
        if isinstance(was, canary.RollingBack) or not isinstance(state, canary.RollingBack | canary.Held):
            return None
        guard = state.reason.partition(":")[0]
        analysis = self._monitor.analysis(record.endpoint)
        if analysis is not None and guard in EXPLAINED:
            return analysis.explain(guard, state.reason)
        if isinstance(state, canary.Held):
            return None
        return Explanation(guard if guard in {"deploy", "replicas", "journal"} else "operator", state.reason)

    def evidence(self, record: EndpointRecord) -> Evidence:
        """The evidence of the endpoint's rollout; of one that was over before a restart, what was saved last."""
        analysis = self._monitor.analysis(record.endpoint)
        if analysis is not None:
            stable = record.rollout.stable
            if stable is not None and not analysis.training.histograms:  # they may come after the rollout's start
                analysis.training = self._read_bins(stable)
            return analysis.evidence()
        number, evidence = self._last.get(record.endpoint, (0, Evidence()))
        return evidence if number == record.rollout.number else Evidence()

    def save(self, record: EndpointRecord) -> None:
        analysis = self._monitor.analysis(record.endpoint)
        if analysis is not None and not canary.is_finished(record.rollout.state):
            self._writer.save_snapshot(record.endpoint, record.rollout.number, analysis.snapshot())

    def _begun(self, record: EndpointRecord) -> RolloutAnalysis:
        stable = record.rollout.stable
        training = self._read_bins(stable) if stable is not None else NO_BINS
        return self._monitor.begin(record.endpoint, record.rollout.spec.analysis, training)

    @staticmethod
    def _enter(analysis: RolloutAnalysis, record: EndpointRecord, now_s: float) -> None:
        started = record.rollout
        analysis.enter_step(
            canary.judged_step(started.state, started.policy),
            int(now_s) + 1,
            salt=started.salt,
            weight_bp=started.canary_bp,
            has_holdback=started.canary_bp < FULL_BP,
            gaps=started.present_gaps,
        )
