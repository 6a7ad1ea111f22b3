"""One endpoint as a gateway sees it: what the routing table says, and what is remembered from table to table."""

from __future__ import annotations

import logging
from collections.abc import Callable

import msgspec

from divisions.control import BreakerTrip, EndpointRoute, SaltScores, SplitReport, VersionRoute, VersionSpec
from router.evidence import split
from router.evidence.drift import InputBins
from router.evidence.salts import CustomerLoad
from router.predict.decode import EndpointDecoder
from router.predict.jobs import Version
from router.predict.pool import Pool
from router.predict.reply_templates import ReplyTemplate
from router.predict.split_monitor import SaltSearch, SplitMonitor

log = logging.getLogger(__name__)


class EndpointState:
    """What outlives a routing table: the load by customer, the trial of salts, and the watch over a rollout."""

    def __init__(self) -> None:
        self.load = CustomerLoad()
        self.search = SaltSearch(self.load)
        self.watch: SplitMonitor | None = None


class Endpoint:
    """Decoder, stable pool, perhaps a canary pool, and the split. Built anew with every table.

    Args:
        route: the table's entry.
        decoder: of the endpoint's requests.
        stable: stable's pool.
        canary: the canary's pool; None without one, or where it cannot take the endpoint's requests.
        memory: of this endpoint.
        read_bins: reads the bins of a version's training data.
    """

    def __init__(
        self,
        route: EndpointRoute,
        decoder: EndpointDecoder,
        stable: Pool,
        canary: Pool | None,
        memory: EndpointState,
        read_bins: Callable[[VersionSpec], InputBins],
    ) -> None:
        self.route = route
        self.name = route.endpoint
        self.decoder = decoder
        self.stable = stable
        self.canary = canary
        self.memory = memory
        self.salt = route.salt.encode()
        self.encoded_name = _json_inner(route.endpoint)
        self.entity_name = _json_inner(decoder.entity)
        self._reply_forms: dict[str, ReplyTemplate] = {}
        version = next((version for version in route.versions if version.is_canary), None)
        self._weight_bp = version.weight_bp if version is not None else 0
        self._follow(version, read_bins)
        self._open_or_shut()
        # Before a rollout it is remembered who asks how much; during one, what the versions answer.
        stable.keeps_keys = not self._weight_bp
        for pool in self.pools:
            pool.warmth.warmup_s, pool.warmth.warmup_requests = route.warmup_s, route.warmup_requests
            pool.keeps_scores = version is not None
            if version is None:
                pool.scores.clear()

    def _follow(self, canary: VersionRoute | None, read_bins: Callable[[VersionSpec], InputBins]) -> None:
        memory = self.memory
        if canary is None:
            memory.watch = None
            return
        watch = memory.watch
        if watch is not None and (watch.salt, watch.app_name) == (self.route.salt, canary.version.app_name):
            watch.set_weight(canary.weight_bp)
            return
        memory.watch = SplitMonitor(
            self.route.salt,
            canary.version.app_name,
            canary.weight_bp,
            read_bins(self.stable.spec),
            (self.stable.spec.schema, canary.version.schema),
            (self.stable.tally.counted(), self.canary.tally.counted()) if self.canary is not None else None,
        )

    def _open_or_shut(self) -> None:
        watch = self.memory.watch
        is_tripped = watch is not None and watch.is_tripped
        is_open = self.canary is not None and not is_tripped
        self.watch = watch if self._weight_bp and not is_tripped else None
        """Set while the canary has weight here; then every request is told to it."""
        self.threshold = split.threshold(self._weight_bp) if is_open else 0
        self.mirror_threshold = split.threshold(self.route.mirror_bp) if is_open else 0

    @property
    def pools(self) -> list[Pool]:
        return [self.stable] if self.canary is None else [self.stable, self.canary]

    def reply_form(self, version: Version) -> ReplyTemplate:
        form = self._reply_forms.get(version.app_name)
        if form is None:
            form = self._reply_forms[version.app_name] = ReplyTemplate(self.entity_name, self.encoded_name, version)
        return form

    def pool_for(self, key: bytes) -> Pool:
        """The pool that the split sends this customer to."""
        if self.canary is not None and split.place(self.salt, key) < self.threshold:
            return self.canary
        return self.stable

    def sweep(self, now_s: float) -> None:
        """Goes on with the trial of salts, and lets the breaker look; call it every few milliseconds."""
        self.memory.search.sweep(self.route.salt, self.route.trial_bp, int(now_s))
        watch = self.memory.watch
        if watch is None or self.canary is None or watch.is_tripped:
            return
        if watch.sweep(self.stable.tally.counted(), self.canary.tally.counted()):
            self._open_or_shut()
            log.error(
                "breaker: %s gets nothing more from this gateway: %d of its %d requests failed (ln E %.1f)",
                watch.app_name,
                watch.breaker.canary_errors,
                watch.breaker.canary_requests,
                watch.breaker.ln_e,
            )

    def news(self) -> tuple[SplitReport | None, SaltScores | None, BreakerTrip | None]:
        """What the controller should know besides counts."""
        watch = self.memory.watch
        if watch is None:
            return None, self.memory.search.scores(), None
        return watch.report(), self.memory.search.scores(), watch.trip()


def _json_inner(text: str) -> bytes:
    return msgspec.json.encode(text)[1:-1]
