"""Sends each rollout that is over as a trace, where traces are on."""

from __future__ import annotations

import logging

from divisions.notice import SpanCounts
from divisions.settings import Settings
from divisions.traces.work import WorkTraces, open_traces
from router.rollouts import trace
from router.rollouts.records import EndpointRecord

log = logging.getLogger(__name__)


class RolloutTraces:
    """See the module. Nothing that goes wrong here reaches a rollout.

    Args:
        traces: sends spans; None sends nothing.
    """

    def __init__(self, traces: WorkTraces | None) -> None:
        self._traces = traces

    def over(self, record: EndpointRecord) -> None:
        """Takes the record of a rollout that has just ended."""
        if self._traces is None:
            return
        try:
            if self._traces.takes(trace.parent(record.rollout)):
                self._traces.take(trace.spans(record))
        except Exception:  # A trace must not stop a rollback.
            log.exception("the rollout of %s could not be traced", record.endpoint)

    def counts(self) -> SpanCounts:
        return self._traces.counts() if self._traces is not None else SpanCounts()


def rollout_traces_of(settings: Settings) -> RolloutTraces:
    """As the settings of the controller's process say."""
    return RolloutTraces(open_traces(settings, "divisions-controller"))
