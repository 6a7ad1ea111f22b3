"""Watches the inputs and the predictions of one version: windows, references, looks, alerts. Pure.

Time is cut into slots of `SLOT_S`. With the first call in a new slot, the windows are looked at: that of an hour at
every slot, all at the end of an hour (`router.drift.alerts` has the comparisons).

What a look may say depends on what was seen:

- with fewer customers than `router.drift.comparison.MIN_ROWS` in a window, nothing;
- a window that is compared by the day, or with the hour of the week, must be whole: while no controller ran, or its
  clock jumped, a part of the day is missing, and the customers of the rest are others. So each slot is noted in which
  somebody looked, and `WHOLE` of the window's slots must be;
- an hour in which something drifts is not learnt as usual.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from divisions.drift import DriftAlert, EndpointDrift, FeatureHistograms, FeatureScores
from divisions.reports import InputSample
from router.drift.alerts import Comparison, Failing, Failures, alerts, judge, ln_level
from router.drift.bins import names
from router.drift.comparison import Counts, compare
from router.drift.customer_window import LIMIT, CustomerWindow, WindowState
from router.drift.seasons import HOURS, Seasons, SeasonState
from router.evidence.drift import FeatureBins

SLOT_S = 300
HOUR = 3_600 // SLOT_S
DAY = 24 * HOUR
WHOLE = 0.9
"""The share of a window's slots in which somebody looked."""


class WatchState(msgspec.Struct, frozen=True):
    """A watch as it is saved. ``columns`` are the names and sizes that the rest is about."""

    bundle_sha256: str
    columns: tuple[tuple[str, int], ...]
    hour: WindowState
    day: WindowState
    hour_usual: SeasonState
    day_usual: SeasonState
    looked: tuple[int, ...] = ()
    failures: dict[str, dict[str, Failing]] = {}
    raised: int = 0
    scores: dict[str, tuple[float | None, ...]] = {}


class Watch:
    """See the module.

    Args:
        bundle_sha256: the version's bundle.
        bins: the bins of its features, and of its scores as the last one, with their training counts.
        limit: how many customers each window keeps.
    """

    def __init__(self, bundle_sha256: str, bins: Sequence[FeatureBins], limit: int = LIMIT) -> None:
        self.bundle_sha256 = bundle_sha256
        self.raised = 0
        """How many alerts were raised."""
        self._bins = tuple(bins)
        self._names = (*(each.feature.name for each in self._bins[:-1]), "")  # a feature may be called like the scores
        sizes = tuple(len(each.counts) for each in self._bins)
        self._training = [np.array(each.counts, dtype=np.float64) for each in self._bins]
        self._hour, self._day = CustomerWindow(sizes, HOUR, limit), CustomerWindow(sizes, DAY, limit)
        self._hour_usual, self._day_usual = Seasons(sizes), Seasons(sizes)
        self._looked: set[int] = set()
        self._slot = -1
        self._failures: Failures = {}
        self._scores: dict[Comparison, list[float | None]] = {}
        self._ln_level = ln_level(len(sizes))

    def add(self, sample: InputSample, now_s: float) -> bool:
        """Takes a gateway's rows of one second; returns whether they are of this version and make sense."""
        num_rows, num_columns = len(sample.digests) // 8, len(self._names)
        is_whole = len(sample.digests) == 8 * num_rows and len(sample.bins) == 2 * num_columns * num_rows
        if sample.bundle_sha256 != self.bundle_sha256 or not is_whole:
            return False
        digests_N: npt.NDArray[np.uint64] = np.frombuffer(sample.digests, dtype="<u8")
        rows_NC: npt.NDArray[np.uint16] = np.frombuffer(sample.bins, dtype="<u2").reshape(-1, num_columns)
        if not len(rows_NC) or (rows_NC >= np.array(self._hour.sizes)).any():
            return False
        slot = int(now_s // SLOT_S)
        self._hour.add(digests_N, rows_NC, slot)
        self._day.add(digests_N, rows_NC, slot)
        return True

    def look(self, now_s: float) -> tuple[DriftAlert, ...]:
        """Looks at the slot that has ended, once; returns the alerts that are new."""
        slot = int(now_s // SLOT_S)
        if self._slot - 1 <= slot <= self._slot:  # a clock that was set back by seconds catches up
            return ()
        if slot < self._slot:  # The clock was set back: what was seen "later" would stay for ever.
            self._forget_windows()
        ended = slot - 1 if self._slot >= 0 else -1
        is_next = slot == self._slot + 1
        self._slot = slot
        if ended < 0:
            return ()
        self._looked = {each for each in self._looked if ended - DAY < each <= ended}
        if is_next:
            self._looked.add(ended)
        self._hour.expire(ended)
        self._day.expire(ended)
        before = {alert.feature for alert in self.alerts()}
        self._judge(ended, now_s)
        new = tuple(alert for alert in self.alerts() if alert.feature not in before)
        self.raised += len(new)
        return new

    def alerts(self) -> tuple[DriftAlert, ...]:
        """The drifts that go on."""
        return alerts(self._failures)

    def _forget_windows(self) -> None:
        for window in (self._hour, self._day):
            window.expire(2**31 - 1)
        self._looked = set()
        self._scores = {}

    def _judge(self, ended: int, now_s: float) -> None:
        hour_counts = self._hour.counts()
        self._compare(Comparison.HOUR_TRAINING, self._training, hour_counts, now_s)
        if (ended + 1) % HOUR:
            return
        of_week = (ended // HOUR) % HOURS
        for span, counts, seasons, by_usual in (
            (HOUR, hour_counts, self._hour_usual, Comparison.HOUR_USUAL),
            (DAY, self._day.counts(), self._day_usual, Comparison.DAY_USUAL),
        ):
            is_whole = self._is_whole(ended, span)
            if span == DAY:
                self._compare(Comparison.DAY_TRAINING, self._training if is_whole else None, counts, now_s)
            usual = seasons.usual(of_week) if is_whole else None
            self._compare(by_usual, usual, counts, now_s)
            if is_whole and usual is None and not any(self._failures.values()):
                seasons.learn(of_week, counts)

    def _is_whole(self, ended: int, span: int) -> bool:
        return sum(ended - span < each for each in self._looked) >= WHOLE * span

    def _compare(self, by: Comparison, reference: list[Counts] | None, counts: list[Counts], now_s: float) -> None:
        """Compares every column; without a reference, the scores are unknown and alerts stay as they are."""
        if reference is None:
            self._scores.pop(by, None)
            return
        scores: list[float | None] = []
        for name, reference_B, counts_B in zip(self._names, reference, counts, strict=True):
            found = compare(reference_B, counts_B, by.tolerance)
            scores.append(found.psi if found is not None else None)
            if found is None:
                continue
            column = self._failures.setdefault(name, {})
            after = judge(column.pop(by.value, None), found, now_s, self._ln_level)
            if after is not None:
                column[by.value] = after
        self._scores[by] = scores

    # ---- What others read ----------------------------------------------------------------------------------------

    def drift(self, endpoint: str, version: str, *, has_histograms: bool = False) -> EndpointDrift:
        """All that is known now."""
        scores = [self._scores_of(number) for number in range(len(self._names))]
        usual = self._hour_usual.num_known
        state = "usual" if usual == HOURS else "watching"
        return EndpointDrift(
            endpoint,
            version,
            state if self._is_told else "warming",
            len(self._hour),
            len(self._day),
            usual,
            float(max(self._slot, 0) * SLOT_S),
            self.raised,
            self.alerts(),
            tuple(scores[:-1]),
            scores[-1],
            self._histograms() if has_histograms else (),
        )

    @property
    def _is_told(self) -> bool:
        return any(score is not None for scores in self._scores.values() for score in scores)

    def _scores_of(self, number: int) -> FeatureScores:
        found = {by: scores[number] for by, scores in self._scores.items()}
        return FeatureScores(self._names[number], *(found.get(by) for by in Comparison))

    def _histograms(self) -> tuple[FeatureHistograms, ...]:
        return tuple(
            FeatureHistograms(name, names(bins), _shares(training), _shares(hour), _shares(day))
            for name, bins, training, hour, day in zip(
                self._names, self._bins, self._training, self._hour.counts(), self._day.counts(), strict=True
            )
        )

    # ---- Restarts ------------------------------------------------------------------------------------------------

    def state(self) -> WatchState:
        """What a later watch of the same version goes on from."""
        return WatchState(
            self.bundle_sha256,
            self._columns,
            self._hour.state(),
            self._day.state(),
            self._hour_usual.state(),
            self._day_usual.state(),
            tuple(sorted(self._looked)),
            {name: dict(failing) for name, failing in self._failures.items() if failing},
            self.raised,
            {by.value: tuple(scores) for by, scores in self._scores.items()},
        )

    def restore(self, state: WatchState, now_s: float) -> bool:
        """Goes on from what an earlier watch has saved; returns whether it was of the same version and columns."""
        if state.bundle_sha256 != self.bundle_sha256 or state.columns != self._columns:
            return False
        self._hour_usual.restore(state.hour_usual)
        self._day_usual.restore(state.day_usual)
        self._failures = {name: dict(failing) for name, failing in state.failures.items()}
        self.raised = state.raised
        now = int(now_s // SLOT_S)
        if all(slot <= now for slot in state.looked):  # else the clock was set back meanwhile
            self._looked = set(state.looked)
            for window, saved in ((self._hour, state.hour), (self._day, state.day)):
                window.restore(saved)
                window.expire(now - 1)
            if any(slot > now - HOUR for slot in state.looked):  # else nobody should take them for present ones
                self._scores = {by: list(state.scores[by]) for by in Comparison if by in state.scores}
        return True

    @property
    def _columns(self) -> tuple[tuple[str, int], ...]:
        return tuple(zip(self._names, self._hour.sizes, strict=True))


def _shares(counts: Counts) -> tuple[float, ...]:
    total = counts.sum()
    return tuple((counts / total).tolist()) if total else (0.0,) * len(counts)
