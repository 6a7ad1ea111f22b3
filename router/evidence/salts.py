"""Choosing a rollout's salt by the traffic before it, so that its two arms resemble each other. Pure.

A few customers may carry much of the traffic, and their requests may all be slow. Then the arm that the hash sends them
to looks slow, even if the versions are equal and the test is *valid* (docs/rollouts-study.md). So before
its first step a rollout tries `CANDIDATES` salts on the last minute of traffic. It takes the salt whose arms would have
been most alike at *every* weight of the rollout::

    score = max_w (max_q |logit(share of canary requests over x_q) - same of stable| + 2 |ln(share / weight)|)

The last term is about the smaller arm. At 20 % the arms are a fifth of the customers and the rest. While baking, the
holdback is 3 % of them, so a few heavy customers decide how it looks. A salt chosen for the first step alone lets equal
versions fail at later steps (docs/rollouts-study.md).

The remaining difference is kept: `gaps` tells the latency guard by how much the canary's customers were slower than the
others *under the same version*. Only a slow-down beyond that counts against the new version. This is a difference in
differences of distributions: "changes in changes" (Athey and Imbens, "Identification and inference in
nonlinear difference-in-differences models", Econometrica 74, 2006). Customers who were faster get no handicap.

The choice uses only traffic before the rollout, under one version. So the split stays as good as random with respect to
the canary's effect, and the guards stay valid.

**In gateways, bounded.** `CustomerLoad` keeps requests and slow requests per customer for a minute, in six slices. Of
each slice it keeps only the heaviest customers. The others are many and light, so a hash splits them evenly. A
`SaltTrial` hashes the heaviest customers under one salt per step, so the event loop is never blocked for long. Gateways
report sums to the controller, which add up over gateways. No customer's id leaves a gateway.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter, deque
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from divisions.control import FULL_BP
from divisions.reports import SaltScores
from router.evidence import quantiles, split
from router.evidence.quantiles import PerQuantile

CANDIDATES = 256
QUANTILES = (0.5, 0.9, 0.99)
SLICE_S = 10
NUM_SLICES = 6
MAX_KEPT = 4_096
"""Customers of one slice; twice as many are pruned to this."""
MAX_TRIED = 1_024
"""How many customers are hashed under every salt."""
MIN_REQUESTS = 100
"""With fewer requests no salt is chosen."""

_Sums: TypeAlias = npt.NDArray[Any]
Load: TypeAlias = list[int]
"""One customer's requests, and how many of them were slower than each of `QUANTILES` of all."""


def candidate(base: str, index: int) -> str:
    """The salt of that number; number 0 is the base itself."""
    return base if index == 0 else f"{base}.{index}"


class CustomerLoad:
    """Requests of a version by customer over the last minute."""

    def __init__(self) -> None:
        self._slices: deque[tuple[int, dict[bytes, Load], Load]] = deque(maxlen=NUM_SLICES)
        self._edges: tuple[float, ...] = ()

    def add(self, tick: int, keys: Sequence[bytes], latencies_s: Sequence[float]) -> None:
        """Takes a second's answers: their customers, and their latencies in the same order."""
        if not keys:
            return
        number = tick // SLICE_S
        if not self._slices or self._slices[-1][0] != number:
            self._slices.append((number, {}, [0] * (1 + len(QUANTILES))))
        _, customers, total = self._slices[-1]
        values_s = np.asarray(latencies_s)
        edges = self._edges or tuple(np.quantile(values_s, QUANTILES))
        columns = [keys, *([keys[int(i)] for i in np.nonzero(values_s > edge)[0]] for edge in edges)]
        for column, those in enumerate(columns):
            total[column] += len(those)
            for key, number_of in Counter(those).items():
                if not key:
                    continue  # A request of many customers counts in the total, but for no customer.
                load = customers.get(key)
                if load is None:
                    load = customers[key] = [0] * len(total)
                load[column] += number_of
        if len(customers) > 2 * MAX_KEPT:
            kept = heapq.nlargest(MAX_KEPT, customers.items(), key=lambda item: item[1][0])
            customers.clear()
            customers.update(kept)
        # The next second uses this one's quantiles: the same edge for all customers, and no look ahead.
        self._edges = tuple(np.quantile(values_s, QUANTILES)) if len(keys) >= MIN_REQUESTS else edges

    def clear(self) -> None:
        self._slices.clear()

    def heaviest(self, now_tick: int) -> tuple[Load, list[tuple[bytes, Load]]]:
        """The sum of the last minute, and its heaviest customers."""
        total = [0] * (1 + len(QUANTILES))
        customers: dict[bytes, Load] = {}
        for number, loads, sums in self._slices:
            if number < now_tick // SLICE_S - NUM_SLICES:
                continue
            total = [a + b for a, b in zip(total, sums, strict=True)]
            for key, load in loads.items():
                known = customers.get(key)
                customers[key] = load if known is None else [a + b for a, b in zip(known, load, strict=True)]
        return total, heapq.nlargest(MAX_TRIED, customers.items(), key=lambda item: item[1][0])


class SaltTrial:
    """Tries the candidates of one base salt, one per `step`.

    Args:
        base: the base salt.
        weights_bp: the canary's future weights.
        load: the traffic to try them on.
        now_tick: the present second.
    """

    def __init__(self, base: str, weights_bp: Sequence[int], load: CustomerLoad, now_tick: int) -> None:
        self.base = base
        self._thresholds = [split.threshold(weight_bp) for weight_bp in weights_bp]
        self._total, customers = load.heaviest(now_tick)
        if self._total[0] < MIN_REQUESTS:
            customers = []
        self._keys = [key for key, _ in customers]
        self._loads = np.array([each for _, each in customers], dtype=np.int64)  # [customers, 1 + QUANTILES]
        self._canary: list[tuple[int, ...]] = []

    @property
    def is_done(self) -> bool:
        return not self._keys or len(self._canary) == CANDIDATES

    def step(self) -> None:
        """Tries one more salt."""
        salt = candidate(self.base, len(self._canary)).encode()
        places = np.array([split.place(salt, key) for key in self._keys], dtype=np.int64)
        sums = [self._loads[places < threshold].sum(axis=0) for threshold in self._thresholds]
        self._canary.append(tuple(int(number) for row in sums for number in row))

    def scores(self) -> SaltScores | None:
        """The result; None when there was too little traffic, or not all candidates were tried yet."""
        if len(self._canary) < CANDIDATES:
            return None
        heavy = tuple(int(number) for number in self._loads.sum(axis=0))
        return SaltScores(self.base, tuple(self._total), heavy, tuple(self._canary))


def best(found: Sequence[SaltScores], weights_bp: Sequence[int]) -> int:
    """The candidate whose arms are most alike over all gateways and weights. If none was tried: 0, the base salt."""
    loads = _merged(found, weights_bp)
    if loads is None:
        return 0
    total, heavy, canary = loads
    ranked = [
        max(score(total, heavy, row, weight_bp / FULL_BP) for row, weight_bp in zip(rows, weights_bp, strict=True))
        for rows in canary
    ]
    return int(np.argmin(ranked))


def gaps(found: Sequence[SaltScores], weights_bp: Sequence[int], index: int) -> tuple[tuple[float, ...], ...]:
    """By how much the canary's customers were slower than the others before the rollout, under a candidate.

    Returns:
        For each weight the difference of the log-odds of being slow, at each of `QUANTILES`; empty if none was tried.
    """
    loads = _merged(found, weights_bp)
    if loads is None or not 0 <= index < len(loads[2]):
        return ()
    total, heavy, canary = loads
    return tuple(
        tuple(round(gap, 4) for gap in _gaps(*_arms(total, heavy, row, weight_bp / FULL_BP)))
        for row, weight_bp in zip(canary[index], weights_bp, strict=True)
    )


def score(total: _Sums, heavy: _Sums, canary: _Sums, weight: float) -> float:
    """How unlike the arms would have been; see the module."""
    mine, rest = _arms(total, heavy, canary, weight)
    smaller, small_weight = (mine, weight) if weight <= 0.5 else (rest, 1.0 - weight)
    share = (float(smaller[0]) + 0.5) / (float(total[0]) + 1.0)
    return max(map(abs, _gaps(mine, rest))) + 2.0 * abs(math.log(share / small_weight))


def at_quantiles(gaps_told: Sequence[float]) -> PerQuantile:
    """Interpolates gaps at `QUANTILES` to the quantiles at which versions are compared; never below 0, see the module.

    Args:
        gaps_told: one for each of `QUANTILES`; empty if unknown.
    """
    if len(gaps_told) != len(QUANTILES):
        return np.zeros(len(quantiles.QUANTILES))
    known, wanted = (np.log(np.array(q) / (1.0 - np.array(q))) for q in (QUANTILES, quantiles.QUANTILES))
    between: PerQuantile = np.maximum(np.interp(wanted, known, np.array(gaps_told)), 0.0)
    return between


def _merged(found: Sequence[SaltScores], weights_bp: Sequence[int]) -> tuple[_Sums, _Sums, _Sums] | None:
    """Total, heavy ``[1 + 3]`` and the canary's ``[candidates, weights, 1 + 3]``, over all gateways; None if no gateway
    reported."""
    width = len(QUANTILES) + 1
    told = [scores for scores in found if all(len(row) == width * len(weights_bp) for row in scores.canary)]
    if not told:
        return None
    total = np.sum([scores.total for scores in told], axis=0)
    heavy = np.sum([scores.heavy for scores in told], axis=0)
    canary = np.sum([scores.canary for scores in told], axis=0).reshape(-1, len(weights_bp), width)
    return total, heavy, canary


def _arms(total: _Sums, heavy: _Sums, canary: _Sums, weight: float) -> tuple[_Sums, _Sums]:
    """The canary's sums and the others'. Light customers are assumed to split by the weight."""
    mine = canary + weight * np.maximum(total - heavy, 0)
    return mine, np.maximum(total - mine, 0.0)


def _gaps(mine: _Sums, rest: _Sums) -> list[float]:
    return [
        _logit(float(mine[q]), float(mine[0])) - _logit(float(rest[q]), float(rest[0])) for q in range(1, len(mine))
    ]


def _logit(hits: float, requests: float) -> float:
    return math.log((hits + 0.5) / (max(requests - hits, 0.0) + 0.5))
