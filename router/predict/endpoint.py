"""One endpoint of the routing table in force, and the state of it that outlives the table."""

from __future__ import annotations

import logging
from collections.abc import Callable

import msgspec

from divisions.control import EndpointRoute, VersionRoute, VersionSpec
from divisions.reports import BreakerTrip, InputSample, SaltScores, SplitReport
from router.evidence import split
from router.evidence.drift import InputBins
from router.evidence.salts import CustomerLoad
from router.predict.answer_log import AnswerLog
from router.predict.decode import EndpointDecoder
from router.predict.input_sampler import InputSampler
from router.predict.jobs import Version
from router.predict.pool import Pool
from router.predict.reply_templates import ReplyTemplate
from router.predict.split_monitor import SaltSearch, SplitMonitor

log = logging.getLogger(__name__)


def canary_of(route: EndpointRoute) -> VersionRoute | None:
    """The version of a routing table's entry that is a canary, if there is one."""
    return next((version for version in route.versions if version.is_canary), None)


class StoredCounts:
    """Look-ups of customers in the online store, by how their features were and what the row was answered from."""

    __slots__ = (
        "fresh",
        "missing_default",
        "missing_refused",
        "stale_default",
        "stale_refused",
        "stale_served",
        "unavailable_default",
        "unavailable_refused",
    )

    def __init__(self) -> None:
        self.fresh = 0
        self.stale_served = 0
        self.stale_default = 0
        self.stale_refused = 0
        self.missing_default = 0
        self.missing_refused = 0
        self.unavailable_default = 0
        self.unavailable_refused = 0


class EndpointState:
    """What is kept when the routing table changes: load by customer, inputs, trial of salts, a rollout's monitor."""

    def __init__(self) -> None:
        self.stored = StoredCounts()
        self.load = CustomerLoad()
        self.search = SaltSearch(self.load)
        self.inputs = InputSampler()
        self.monitor: SplitMonitor | None = None

    def follow(
        self,
        route: EndpointRoute,
        stable: Pool,
        canary: Pool | None,
        read_bins: Callable[[VersionSpec], InputBins],
        *,
        is_recording: bool,
    ) -> None:
        """Keeps the monitor while its rollout goes on; begins a new one with a new rollout; drops it at the end.

        Args:
            canary: the canary's pool; None without a canary, or if it cannot take the endpoint's requests.
            read_bins: reads the bins of a version's training data.
            is_recording: whether the monitor records requests.
        """
        version = canary_of(route)
        if version is None:
            self.monitor = None
            return
        monitor = self.monitor
        if monitor is not None and (monitor.salt, monitor.app_name) == (route.salt, version.version.app_name):
            monitor.set_weight(version.weight_bp)
            return
        self.monitor = SplitMonitor(
            route.salt,
            version.version.app_name,
            version.weight_bp,
            read_bins(stable.spec),
            (stable.spec.schema, version.version.schema),
            (stable.tally.counted(), canary.tally.counted()) if canary is not None else None,
            is_recording=is_recording,
        )


class Endpoint:
    """Decoder, stable pool, perhaps a canary pool, and the split. Built anew for every routing table.

    Args:
        route: the table's entry.
        decoder: decodes the endpoint's requests.
        stable: stable's pool.
        canary: the canary's pool; None without a canary, or if it cannot take the endpoint's requests.
        state: the endpoint's state, already updated from ``route``.
        needs_key: whether requests need a key, whatever the versions say.
    """

    def __init__(
        self,
        route: EndpointRoute,
        decoder: EndpointDecoder,
        stable: Pool,
        canary: Pool | None,
        state: EndpointState,
        needs_key: bool = False,
    ) -> None:
        self.route = route
        self.name = route.endpoint
        self.decoder = decoder
        self.stable = stable
        self.canary = canary
        self.state = state
        self.online = stable.spec.online
        self.log: AnswerLog | None = None
        """Set if a version's answers are logged."""
        self.needs_key = needs_key or route.needs_key or any(v.version.access.require_key for v in route.versions)
        """One of its versions asking for keys is enough: a rollout must not open an endpoint before it is over."""
        self.salt = route.salt.encode()
        self.encoded_name = _json_inner(route.endpoint)
        self.entity_name = _json_inner(decoder.entity)
        self._reply_forms: dict[str, ReplyTemplate] = {}
        version = canary_of(route)
        self._weight_bp = version.weight_bp if version is not None else 0
        self._set_thresholds()

    def _set_thresholds(self) -> None:
        monitor = self.state.monitor
        is_tripped = monitor is not None and monitor.is_tripped
        is_open = self.canary is not None and not is_tripped
        self.monitor = monitor if self._weight_bp and not is_tripped else None
        """Set while the canary has weight here. Then every request is recorded in it."""
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
        """The pool that the split assigns to this customer."""
        if self.canary is not None and split.place(self.salt, key) < self.threshold:
            return self.canary
        return self.stable

    def sweep(self, now_s: float) -> None:
        """Tests the next candidate salt, and checks the breaker. Call it every few milliseconds."""
        self.state.search.sweep(self.route.salt, self.route.trial_bp, int(now_s))
        monitor = self.state.monitor
        if monitor is None or self.canary is None or monitor.is_tripped:
            return
        if monitor.sweep(self.stable.tally.counted(), self.canary.tally.counted()):
            self._set_thresholds()
            log.error(
                "breaker: %s gets no more requests from this gateway: %d of its %d requests failed (ln E %.1f)",
                monitor.app_name,
                monitor.breaker.canary_errors,
                monitor.breaker.canary_requests,
                monitor.breaker.ln_e,
            )

    def updates(self) -> tuple[SplitReport | None, SaltScores | None, BreakerTrip | None, InputSample | None]:
        """What the controller should know besides counts."""
        monitor = self.state.monitor
        inputs = self.state.inputs.report(self.stable.spec, self.stable.sample.take())
        if monitor is None:
            return None, self.state.search.scores(), None, inputs
        return monitor.report(), self.state.search.scores(), monitor.trip(), inputs


def _json_inner(text: str) -> bytes:
    return msgspec.json.encode(text)[1:-1]
