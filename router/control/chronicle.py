"""What is remembered of the traffic: the last quarter of an hour, and the curve of each endpoint's latest rollout.

No I/O: `router.control.curve_files` keeps the curves over restarts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from divisions.clock import Clock
from divisions.house import RolloutCurve
from divisions.status import Evidence
from router.control.analyses import arms
from router.evidence.windows import ClosedTick
from router.house.curves import COLUMNS, CurveRecorder, new_curve
from router.house.traffic import Traffic
from router.rollouts import canary
from router.rollouts.records import EndpointRecord

FRESH_S = 15.0
"""Seconds are closed about 2.5 s after they began. When none is for so long, no gateway reports: nothing is known."""


class Chronicle:
    """See the module.

    Args:
        clock: the time.
        read_records: the present record of every endpoint.
        read_evidence: the present evidence of an endpoint's rollout.
    """

    def __init__(
        self,
        clock: Clock,
        read_records: Callable[[], Mapping[str, EndpointRecord]],
        read_evidence: Callable[[EndpointRecord], Evidence],
    ) -> None:
        self._clock = clock
        self._read_records = read_records
        self._read_evidence = read_evidence
        self._traffic = Traffic()
        self._closed_s = -FRESH_S
        self._recorders: dict[str, CurveRecorder] = {}
        self._saved: dict[str, RolloutCurve] = {}
        self.has_news = False
        """Whether a rollout changed its phase since somebody set this to false."""

    def restore(self, curves: Mapping[str, RolloutCurve]) -> None:
        """Takes what an earlier controller has saved, by endpoint: of the same rollout it goes on."""
        self._saved.update(curves)

    def closed(self, tick: ClosedTick) -> None:
        """Takes a second that all gateways have reported."""
        now_s = self._clock.monotonic_s()
        self._closed_s = now_s
        self._traffic.add(tick, self._clock.wall_s() - (now_s - tick.tick))
        all_records = self._read_records()
        for endpoint, versions in tick.endpoints.items():
            recorder, record = self._recorders.get(endpoint), all_records.get(endpoint)
            compared = arms(record) if record is not None else None
            if recorder is not None and compared is not None:
                recorder.count(versions.get(compared.stable), versions.get(compared.canary))

    def tick(self) -> None:
        """Records a second of each rollout that goes on. Call it once a second."""
        all_records = self._read_records()
        for endpoint in self._recorders.keys() - all_records.keys():
            del self._recorders[endpoint]
        for endpoint, record in all_records.items():
            recorder = self._recorder_of(endpoint, record)
            if recorder.is_over:
                continue
            rollout, evidence = record.rollout, self._read_evidence(record)
            log_e = (evidence.latency_log_e, evidence.error_log_e)
            phase = canary.phase(rollout.state).value
            message = rollout.rollback_reason or rollout.message
            self.has_news |= recorder.second(self._clock.wall_s(), phase, rollout.canary_bp, log_e, message)

    def _recorder_of(self, endpoint: str, record: EndpointRecord) -> CurveRecorder:
        rollout = record.rollout
        known = self._recorders.get(endpoint)
        if known is not None and known.rollout == rollout.number:
            return known
        saved = self._saved.pop(endpoint, None)
        if saved is not None and saved.rollout == rollout.number and saved.columns == COLUMNS:
            recorder = CurveRecorder(saved)
            if not recorder.is_over:
                recorder.gap(self._clock.wall_s())
        else:
            stable = rollout.stable.version if rollout.stable is not None else None
            recorder = CurveRecorder(new_curve(endpoint, rollout.number, stable, rollout.spec.version.version))
        self._recorders[endpoint] = recorder
        return recorder

    # ---- What others read ----------------------------------------------------------------------------------------

    @property
    def traffic(self) -> Traffic:
        """Of the last seconds; of none if no gateway has reported lately."""
        is_fresh = self._clock.monotonic_s() - self._closed_s < FRESH_S
        return self._traffic if is_fresh else Traffic()

    @property
    def history(self) -> Traffic:
        """All that is remembered, also of gateways that are silent now."""
        return self._traffic

    def curves(self) -> tuple[RolloutCurve, ...]:
        """One per endpoint, that which changed last first."""
        found = [recorder.curve() for recorder in self._recorders.values()]
        return tuple(sorted(found, key=lambda curve: -(curve.marks[-1].at_s if curve.marks else 0.0)))
