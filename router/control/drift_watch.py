"""Drift of every endpoint: takes the gateways' samples to the watches, and has them look. No I/O.

A watch lives as long as its endpoint's stable version: another version has other training data, so its windows begin
anew. The count of alerts is the endpoint's and goes on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

import msgspec

from divisions.clock import Clock
from divisions.control import VersionSpec
from divisions.drift import DriftAlert, DriftSummary, EndpointDrift, FeatureScores
from divisions.drift_text import text_of
from divisions.errors import UnknownVersionError
from divisions.reports import GatewayReport
from router.drift.watch import Watch, WatchState
from router.evidence.drift import InputBins, prediction_bins
from router.rollouts import records
from router.rollouts.records import EndpointRecord

log = logging.getLogger(__name__)

SEEK_S = 5.0
"""How often bins are asked for that are not here yet."""


class DriftState(msgspec.Struct, frozen=True):
    """One endpoint's watch as it is saved."""

    endpoint: str
    watch: WatchState


class DriftWatch:
    """See the module.

    Args:
        clock: the time.
        read_bins: reads the bins of a version's training data; empty while they are not here.
        read_records: the present record of every endpoint.
    """

    def __init__(
        self,
        clock: Clock,
        read_bins: Callable[[VersionSpec], InputBins],
        read_records: Callable[[], Mapping[str, EndpointRecord]],
    ) -> None:
        self._clock = clock
        self._read_bins = read_bins
        self._read_records = read_records
        self._watches: dict[str, Watch] = {}
        self._versions: dict[str, VersionSpec] = {}
        self._totals: dict[str, int] = {}
        self._saved: dict[str, WatchState] = {}
        self._sought_s = -SEEK_S
        self.has_news = False
        """Whether there was an alert since somebody set this to false."""

    def restore(self, states: Mapping[str, DriftState]) -> None:
        """Takes what an earlier controller has saved, by endpoint. It is used once the version's bins are here."""
        for endpoint, state in states.items():
            self._saved[endpoint] = state.watch
            self._totals.setdefault(endpoint, state.watch.raised)

    def states(self) -> list[DriftState]:
        """What a later controller goes on from."""
        return [DriftState(endpoint, watch.state()) for endpoint, watch in self._watches.items()]

    def report(self, report: GatewayReport) -> None:
        """Takes a gateway's samples."""
        now_s = self._clock.wall_s()
        for entry in report.endpoints:
            watch = self._watches.get(entry.endpoint)
            if entry.inputs is not None and watch is not None:
                watch.add(entry.inputs, now_s)

    def tick(self) -> list[tuple[str, DriftAlert]]:
        """Has every watch look, and begins those of new versions; returns new alerts. Call it once a second."""
        now_s = self._clock.monotonic_s()
        if now_s - self._sought_s >= SEEK_S:
            self._sought_s = now_s
            self._seek()
        new = []
        for endpoint, watch in self._watches.items():
            for alert in watch.look(self._clock.wall_s()):
                self._totals[endpoint] = watch.raised
                log.warning("%s: %s", endpoint, text_of(alert))
                new.append((endpoint, alert))
                self.has_news = True
        return new

    def _seek(self) -> None:
        all_records = self._read_records()
        for endpoint in self._watches.keys() - all_records.keys():
            del self._watches[endpoint], self._versions[endpoint]
        for endpoint, record in all_records.items():
            stable = records.stable_version(record)
            if stable is None or self._is_watched(endpoint, stable):
                continue
            found = self._read_bins(stable)
            bins = found.common(stable.schema)
            self._watches.pop(endpoint, None)
            self._versions[endpoint] = stable
            if bins:
                self._watches[endpoint] = self._begun(
                    endpoint, stable, Watch(stable.bundle_sha256, (*bins, prediction_bins(found)))
                )

    def _is_watched(self, endpoint: str, stable: VersionSpec) -> bool:
        watch = self._watches.get(endpoint)
        return (
            watch is not None
            and self._versions[endpoint].app_name == stable.app_name
            and (watch.bundle_sha256 == stable.bundle_sha256)
        )

    def _begun(self, endpoint: str, stable: VersionSpec, watch: Watch) -> Watch:
        saved = self._saved.pop(endpoint, None)
        if saved is not None and watch.restore(saved, self._clock.wall_s()):
            log.info("%s: the drift of version %s goes on from what was saved", endpoint, stable.version)
        watch.raised = max(watch.raised, self._totals.get(endpoint, 0))
        return watch

    # ---- What others read ----------------------------------------------------------------------------------------

    def drift(self, endpoint: str = "") -> tuple[EndpointDrift, ...]:
        """The drift of an endpoint with its histograms, or of all without.

        Raises:
            UnknownVersionError: there is no such endpoint.
        """
        all_records = self._read_records()
        if endpoint and endpoint not in all_records:
            known = ", ".join(sorted(all_records)) or "none"
            raise UnknownVersionError("there is no such endpoint", remedy=f"endpoints: {known}")
        names = [endpoint] if endpoint else sorted(all_records)
        return tuple(self._drift_of(name, all_records[name], has_histograms=bool(endpoint)) for name in names)

    def _drift_of(self, endpoint: str, record: EndpointRecord, *, has_histograms: bool) -> EndpointDrift:
        stable = records.stable_version(record)
        version = stable.version if stable is not None else ""
        watch = self._watches.get(endpoint)
        if watch is None or stable is None or not self._is_watched(endpoint, stable):
            return EndpointDrift(endpoint, version, "unknown", alerts_total=self._totals.get(endpoint, 0))
        return watch.drift(endpoint, version, has_histograms=has_histograms)

    def summaries(self) -> tuple[DriftSummary, ...]:
        """A line for each endpoint, for the status."""
        return tuple(_summary(drift) for drift in self.drift())


def _summary(drift: EndpointDrift) -> DriftSummary:
    worst = max(drift.features, key=lambda scores: _worst(scores) or 0.0, default=FeatureScores(""))
    score = _worst(worst)
    return DriftSummary(
        drift.endpoint,
        drift.version,
        drift.state,
        drift.alerts_total,
        drift.alerts,
        worst.feature if score is not None else "",
        score,
    )


def _worst(scores: FeatureScores) -> float | None:
    return scores.day if scores.day is not None else scores.hour
