"""The gateway's own metrics, in Prometheus' text format.

Latencies come from the log-bucket histograms that the hot path appends to, merged into the buckets below. So a scrape
costs the hot path nothing, and neither does the number of buckets. Labels are the endpoint, the version and the class
of the status code. Replicas, requests and customers are no labels, because their number has no bound. Every sample also
has the label ``gateway``, see `router.gateway.slot`.
"""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from divisions import __version__
from router.evidence import histogram
from router.gateway import native
from router.gateway.exposition import Series
from router.gateway.exposition import histogram as histogram_text
from router.gateway.log_link import LogHealth
from router.gateway.port_certificate import PortHealth
from router.gateway.trace_link import TraceHealth
from router.predict.callers import CallerCounts
from router.predict.dispatcher import Dispatcher
from router.predict.endpoint import StoredCounts
from router.predict.stored_features import StoreHealth

# fmt: off
BUCKETS_S = (
    0.00005, 0.0001, 0.00015, 0.0002, 0.0003, 0.0004, 0.0005, 0.0007, 0.001, 0.0015, 0.002, 0.003, 0.005, 0.007,
    0.01, 0.015, 0.02, 0.025, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0,
)
# fmt: on
"""A request takes 0.1 to 0.4 ms where it need not wait, and an engine less. Up to 0.2 s, an edge is at most twice the
one before, so the quantiles that Prometheus interpolates are off by a third at most."""


LOG_REASONS = ("buffer", "writer", "disk", "place", "rows")
"""Why rows of the prediction log are lost, see `divisions.prediction_log.LogCount`."""


@dataclass(frozen=True, slots=True)
class Vitals:
    """What is not about an endpoint."""

    connections: int
    event_streams: int
    controller_silent_s: float
    store: StoreHealth | None = None
    log: LogHealth = field(default_factory=LogHealth)
    traces: TraceHealth | None = None
    certificate: PortHealth | None = None
    """Of the port; None without TLS."""


class GatewayCollector(Collector):
    """Reads the gateway's state when it is scraped."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        refused: dict[tuple[str, int, str], int],
        callers: dict[str, CallerCounts],
        vitals: Callable[[], Vitals],
        gateway: str = "0",
    ) -> None:
        self._dispatcher = dispatcher
        self._refused = refused
        self._callers = callers
        self._vitals = vitals
        self._gateway = gateway

    def collect(self) -> Iterator[Metric]:
        """Every sample has the gateway's number as a label: one port may answer for any gateway of the node."""
        for family in self._families():
            family.samples = [
                sample._replace(labels={**sample.labels, "gateway": self._gateway}) for sample in family.samples
            ]
            yield family

    def _families(self) -> Iterator[Metric]:
        vitals = self._vitals()
        labels = ["endpoint", "version"]
        requests = CounterMetricFamily(
            "divisions_requests", "Requests that a version answered or failed", labels=[*labels, "code"]
        )
        retries = CounterMetricFamily("divisions_retries", "Attempts that failed and were tried again", labels=labels)
        weight = GaugeMetricFamily("divisions_weight_ratio", "Share of the endpoint's traffic", labels=labels)
        replicas = GaugeMetricFamily("divisions_ready_replicas", "Replicas this gateway can reach", labels=labels)
        queued = GaugeMetricFamily("divisions_queued_rows", "Rows that wait for a replica", labels=labels)
        for endpoint in self._dispatcher.endpoints.values():
            shares = {route.version.app_name: route.weight_bp for route in endpoint.route.versions}
            for pool in endpoint.pools:
                values = [endpoint.name, pool.spec.version]
                totals = pool.tally.totals
                for code, count in totals.requests.items():
                    requests.add_metric([*values, code], count)
                retries.add_metric(values, totals.retries)
                weight.add_metric(values, shares.get(pool.spec.app_name, 0) / 10_000)
                replicas.add_metric(values, pool.ready_channels)
                queued.add_metric(values, pool.queue.rows)
        yield from (requests, retries, weight, replicas, queued)
        yield self._engines()
        yield self._stored()
        refused = CounterMetricFamily(
            "divisions_refused", "Requests that reached no version", labels=["endpoint", "status", "code"]
        )
        for (name, status, code), count in self._refused.items():
            refused.add_metric([name, str(status), code], count)
        yield refused
        yield self._principals()
        yield GaugeMetricFamily("divisions_gateway_compiled", "Whether its hot path is compiled", native.is_active())
        build = GaugeMetricFamily(
            "divisions_build_info", "Release and Python of this gateway", labels=["version", "python"]
        )
        build.add_metric([__version__, platform.python_version()], 1)
        yield build
        yield GaugeMetricFamily("divisions_connections", "Open HTTP connections", vitals.connections)
        yield GaugeMetricFamily("divisions_event_streams", "Open streams of status events", vitals.event_streams)
        yield GaugeMetricFamily("divisions_table_epoch", "Epoch of the routing table in force", self._dispatcher.epoch)
        yield GaugeMetricFamily(
            "divisions_controller_silent_seconds", "Since the controller last answered", vitals.controller_silent_s
        )
        if vitals.store is not None:
            yield from _shared_store(vitals.store)
        yield from _prediction_log(vitals.log)
        if vitals.traces is not None:
            yield from _traces(vitals.traces)
        if vitals.certificate is not None:
            yield from _certificate(vitals.certificate)

    def histograms(self) -> str:
        """The latencies as text; see `router.gateway.exposition`."""
        latency: list[Series] = []
        compute: list[Series] = []
        for endpoint in self._dispatcher.endpoints.values():
            for pool in endpoint.pools:
                labels = {"endpoint": endpoint.name, "gateway": self._gateway, "version": pool.spec.version}
                totals = pool.tally.totals
                latency.append(Series(labels, _cumulative(totals.latency), totals.latency_sum_s))
                compute.append(Series(labels, _cumulative(totals.compute), totals.compute_sum_s))
        request, engine = "divisions_request_seconds", "divisions_compute_seconds"
        return histogram_text(request, "From arrival to reply", EDGES, latency) + histogram_text(
            engine, "Engine time of the batch", EDGES, compute
        )

    def _stored(self) -> Metric:
        labels = ["endpoint", "features", "answer"]
        stored = CounterMetricFamily("divisions_stored_features", "Customers looked up by their id", labels=labels)
        for endpoint in self._dispatcher.endpoints.values():
            for (features, answer), count in _stored_counts(endpoint.state.stored).items():
                stored.add_metric([endpoint.name, features, answer], count)
        return stored

    def _principals(self) -> Metric:
        """Of endpoints that ask for keys. ``router.predict.callers`` bounds how many have a name here."""
        calls = CounterMetricFamily(
            "divisions_principal_requests",
            "Requests with a right key, by whether they passed or which limit refused them",
            labels=["principal", "outcome"],
        )
        for name, counts in self._callers.items():
            calls.add_metric([name, "passed"], counts.passed)
            calls.add_metric([name, "rate"], counts.refused_rate)
            calls.add_metric([name, "concurrency"], counts.refused_concurrency)
            calls.add_metric([name, "share"], counts.refused_share)
        return calls

    def _engines(self) -> Metric:
        """The engines of each version. ``passed_over`` says why no better one is used; a version has few such texts."""
        labels = ["endpoint", "version", "engine", "passed_over"]
        engines = GaugeMetricFamily("divisions_engine_replicas", "Replicas by engine", labels=labels)
        counts = Counter(
            (endpoint.name, route.version.version, replica.engine, replica.engine_note)
            for endpoint in self._dispatcher.endpoints.values()
            for route in endpoint.route.versions
            for replica in route.replicas
        )
        for values, count in sorted(counts.items()):
            engines.add_metric(values, count)
        return engines


def _shared_store(store: StoreHealth) -> Iterator[Metric]:
    yield GaugeMetricFamily(
        "divisions_online_store_reachable", "Whether the shared online store answers", store.is_reachable
    )
    yield GaugeMetricFamily("divisions_online_store_waiting", "Customers being looked up there", store.waiting_keys)
    failures = CounterMetricFamily(
        "divisions_online_store_failures", "Requests that it did not answer", labels=["reason"]
    )
    for reason, count in store.failures.items():
        failures.add_metric([reason], count)
    yield failures


def _prediction_log(health: LogHealth) -> Iterator[Metric]:
    labels = ["endpoint", "version"]
    kept = CounterMetricFamily("divisions_prediction_log_rows", "Rows of the log that are on a disk", labels=labels)
    lost = CounterMetricFamily(
        "divisions_prediction_log_lost_rows", "Rows of the log that are nowhere", labels=[*labels, "reason"]
    )
    for version in health.versions:
        values = [version.endpoint, version.version]
        kept.add_metric(values, version.kept)
        for reason in LOG_REASONS:
            lost.add_metric([*values, reason], version.lost.get(reason, 0))
    yield from (kept, lost)
    yield CounterMetricFamily("divisions_prediction_log_files", "Files in the log's place", health.files)
    yield GaugeMetricFamily(
        "divisions_prediction_log_waiting_bytes", "Spooled for the log's place", health.waiting_bytes
    )
    yield GaugeMetricFamily(
        "divisions_prediction_log_reachable", "Whether the log's place takes files", health.is_reachable
    )


def _traces(health: TraceHealth) -> Iterator[Metric]:
    yield CounterMetricFamily("divisions_traces_exported", "Traced requests that are at the collector", health.exported)
    lost = CounterMetricFamily("divisions_traces_lost", "Traced requests that are nowhere", labels=["reason"])
    for reason, count in sorted(health.lost.items()):
        lost.add_metric([reason], count)
    yield lost


def _certificate(health: PortHealth) -> Iterator[Metric]:
    yield GaugeMetricFamily(
        "divisions_port_certificate_expiry_timestamp_seconds", "When the port's certificate expires", health.end_s
    )
    yield GaugeMetricFamily(
        "divisions_port_certificate_refused", "Whether a new certificate cannot be used", health.is_refusing
    )


def _stored_counts(counts: StoredCounts) -> dict[tuple[str, str], int]:
    """By how the features were, and what the row was answered from."""
    return {
        ("fresh", "stored"): counts.fresh,
        ("stale", "stored"): counts.stale_served,
        ("stale", "default"): counts.stale_default,
        ("stale", "refused"): counts.stale_refused,
        ("missing", "default"): counts.missing_default,
        ("missing", "refused"): counts.missing_refused,
        ("unavailable", "default"): counts.unavailable_default,
        ("unavailable", "refused"): counts.unavailable_refused,
    }


def render(collector: GatewayCollector) -> bytes:
    """The metrics as text."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    return generate_latest(registry) + collector.histograms().encode()


EDGES = tuple(str(edge) for edge in BUCKETS_S)
_POSITIONS = np.array([*histogram.bucket_indices(np.array(BUCKETS_S)), histogram.OVERFLOW])


def _cumulative(counts: histogram.Counts) -> list[int]:
    cumulative: list[int] = np.cumsum(counts)[_POSITIONS].tolist()
    return cumulative
