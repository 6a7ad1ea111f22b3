"""Counts and latencies of one version, by the second in which the requests *arrived*.

Windows are by arrival, so that a hung version does not look fast: a request that is pending when its second is
reported counts with its age at that time (see docs/rollouts.md). Recording is an append. All arithmetic waits for
`TickTally.fold`, which handles some hundreds of answers at a time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np

from divisions.reports import VersionReport
from router.evidence import histogram

FOLD_ANSWERS: Final = 512
"""A fold has a fixed cost; fewer answers are not worth it."""
MAX_KEYS: Final = 4_096
"""Answers of one second whose customers are kept. A sample is enough: only shares are learnt from them."""


class Counted(NamedTuple):
    """Running totals of a version's judged requests since the gateway started."""

    requests: int = 0
    errors: int = 0


class TickTally:
    """What happened to the requests of one version that arrived in one second.

    The hot path appends to the lists; `fold` moves them into the histograms. ``computed`` has the seconds and the
    number of answers of each batch. ``keys`` are the customers of the first answers and ``key_latencies_s`` their
    latencies, while the version's pool keeps them.

    ``errors`` are failed first attempts, which is what a version is judged by. Their callers may have fared better:
    ``rescued_s`` are the latencies of those that a second attempt with the same version answered. ``shed`` is how many
    were refused because the version could not answer in time.
    """

    __slots__ = (
        "answered",
        "compute",
        "compute_sum_s",
        "computed",
        "errors",
        "key_latencies_s",
        "keys",
        "latencies_s",
        "latency",
        "latency_sum_s",
        "requests",
        "rescued_s",
        "shed",
        "tick",
    )

    def __init__(self, tick: int) -> None:
        self.tick = tick
        self.requests = 0
        self.errors = 0
        self.shed = 0
        self.rescued_s: list[float] = []
        self.latencies_s: list[float] = []
        self.computed: list[tuple[float, int]] = []
        self.keys: list[bytes] = []
        self.key_latencies_s: list[float] = []
        self.answered = 0
        self.latency = histogram.empty()
        self.compute = histogram.empty()
        self.latency_sum_s = 0.0
        self.compute_sum_s = 0.0

    def fold(self) -> None:
        """Moves what was appended into the histograms."""
        if not self.latencies_s:
            return
        latencies_s, computed = np.array(self.latencies_s), np.array(self.computed).reshape(-1, 2)
        self.latencies_s.clear()
        self.computed.clear()
        self.answered += len(latencies_s)
        self.latency += histogram.count(latencies_s)
        self.latency_sum_s += float(latencies_s.sum())
        compute_s, answers = computed.T
        np.add.at(self.compute, histogram.bucket_indices(compute_s), answers.astype(np.int64))
        self.compute_sum_s += float(compute_s @ answers)


def report(app_name: str, tally: TickTally, age_s: float, scores: dict[int, int] | None = None) -> VersionReport:
    """Sums up one second.

    Args:
        app_name: the version's application.
        tally: its counts; requests that were neither answered nor failed are pending.
        age_s: the least age of a pending request.
        scores: the version's answers by bin of score, counted once.
    """
    tally.fold()
    counts = tally.latency.copy()
    counts[histogram.bucket_indices(np.array(age_s))] += max(0, tally.requests - tally.answered - tally.errors)
    counts[histogram.OVERFLOW] += tally.errors
    return VersionReport(app_name, tally.requests, tally.errors, histogram.to_sparse(counts), scores or {})


@dataclass(slots=True)
class Totals:
    """Running totals of one version since the gateway started, for ``/metrics``."""

    requests: dict[str, int] = field(default_factory=dict)
    """Requests by code class: ``2xx``, ``5xx``. What this version answered by a second attempt is a ``2xx`` too.
    Refused requests are not here: the gateway counts them by status."""
    retries: int = 0
    latency: histogram.Counts = field(default_factory=histogram.empty)
    compute: histogram.Counts = field(default_factory=histogram.empty)
    latency_sum_s: float = 0.0
    compute_sum_s: float = 0.0

    def add(self, tally: TickTally) -> None:
        """Adds a second that will not be added again."""
        tally.fold()
        rescued_s = np.array(tally.rescued_s)
        self.requests["2xx"] = self.requests.get("2xx", 0) + tally.answered + len(rescued_s)
        failed = tally.errors - len(rescued_s) - tally.shed
        if failed:
            self.requests["5xx"] = self.requests.get("5xx", 0) + failed
        self.latency += tally.latency + histogram.count(rescued_s)
        self.compute += tally.compute
        self.latency_sum_s += tally.latency_sum_s + float(rescued_s.sum())
        self.compute_sum_s += tally.compute_sum_s


class VersionTally:
    """The seconds of one version: open, then reported, then settled into its totals.

    Call `at` for every arrival, `fold` every few milliseconds, and once a second `take` and `settle`.
    """

    __slots__ = (
        "_open",
        "_present",
        "_reported",
        "_settled",
        "_unjudged",
        "app_name",
        "batches",
        "refused",
        "rows",
        "totals",
    )

    def __init__(self, app_name: str) -> None:
        self.app_name = app_name
        self.totals = Totals()
        self.batches = 0
        """Batches that the version has answered."""
        self.rows = 0
        """Rows of these batches."""
        self.refused = 0
        """Rows that were not taken, because they could not be answered in time."""
        self._open: dict[int, TickTally] = {}
        self._reported: list[TickTally] = []
        self._settled = Counted()
        self._unjudged: dict[int, TickTally] = {}
        self._present: TickTally | None = None
        """The tally of the last arrival's second: nearly every arrival is in the same second as the one before."""

    def at(self, now_s: float) -> TickTally:
        present = self._present
        if present is not None and 0.0 <= now_s - present.tick < 1.0:
            return present
        tick = int(now_s)
        tally = self._open.get(tick)
        if tally is None:
            tally = self._open[tick] = TickTally(tick)
        self._present = tally
        return tally

    def at_unjudged(self, now_s: float) -> TickTally:
        """For requests that name their version. They count in the totals, and in no report.

        The guards compare versions by requests that were split at random; callers that name a version are no random
        sample.
        """
        tick = int(now_s)
        tally = self._unjudged.get(tick)
        if tally is None:
            tally = self._unjudged[tick] = TickTally(tick)
        return tally

    def fold(self) -> None:
        """Folds seconds with many answers now: a whole second's answers at once would hold up the event loop."""
        for tally in (*self._open.values(), *self._reported):
            if len(tally.latencies_s) >= FOLD_ANSWERS:
                tally.fold()

    def take(self, before_tick: int) -> list[TickTally]:
        """Removes and returns the seconds before ``before_tick``, oldest first."""
        ticks = sorted(tick for tick in self._open if tick < before_tick)
        taken = [self._open.pop(tick) for tick in ticks]
        self._present = None
        self._reported += taken
        return taken

    def settle(self, before_tick: int) -> None:
        """Adds the seconds before ``before_tick`` to the totals. Their requests must all have ended."""
        while self._reported and self._reported[0].tick < before_tick:
            settled = self._reported.pop(0)
            self._settled = Counted(self._settled.requests + settled.requests, self._settled.errors + settled.errors)
            self.totals.add(settled)
        for tick in [tick for tick in self._unjudged if tick < before_tick]:
            self.totals.add(self._unjudged.pop(tick))

    def running_totals(self) -> Totals:
        """The totals, and what they do not have yet. Requests that have not ended are left out."""
        running = Totals(dict(self.totals.requests), self.totals.retries)
        running.latency_sum_s, running.compute_sum_s = self.totals.latency_sum_s, self.totals.compute_sum_s
        for tally in (*self._reported, *self._open.values(), *self._unjudged.values()):
            running.add(tally)
        return running

    def counted(self) -> Counted:
        """All judged requests until now, ended or pending."""
        requests, errors = self._settled
        for tally in (*self._open.values(), *self._reported):
            requests += tally.requests
            errors += tally.errors
        return Counted(requests, errors)
