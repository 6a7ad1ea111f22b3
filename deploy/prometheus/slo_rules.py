"""Alerts on how fast an endpoint uses up the errors that its SLO allows. Pure.

With an availability of 99.9 %, one request in a thousand may fail: that is the budget of 30 days. A burn rate of 1 uses
it up in exactly that time. Each alert asks for a burn rate in two windows: the long one shows that it matters, the
short one that it still goes on, so that the alert ends soon after the fault. The pairs and rates are those of Google's
SRE Workbook, chapter 5: they use up 2 %, 5 % and 10 % of the budget before somebody hears of it.

What fails: replies of the gateway with a status of 5xx. Requests that are the caller's fault (4xx) are not counted.
What is slow: a request that was answered, but not within the bucket of the histogram that holds ``latency_ms``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from deploy.prometheus.rules import PAGE, TICKET, Alert, Rule
from divisions.pipeline.definition import Pipeline, Slo
from router.gateway.telemetry import BUCKETS_S


@dataclass(frozen=True, slots=True)
class Burn:
    """Alert if the budget burns faster than ``rate`` in both windows."""

    rate: float
    long: str
    short: str
    severity: str


BURNS = (
    Burn(14.4, "1h", "5m", PAGE),
    Burn(6.0, "6h", "30m", PAGE),
    Burn(3.0, "1d", "2h", TICKET),
    Burn(1.0, "3d", "6h", TICKET),
)
MOST_MISSES = 0.9
"""Of an SLO of 90 % all requests would not burn the budget 14 times too fast. Somebody must hear of it all the same."""
WINDOWS = tuple(dict.fromkeys(window for burn in BURNS for window in (burn.short, burn.long)))
NAMES = {PAGE: "ErrorBudgetBurnsFast", TICKET: "ErrorBudgetBurnsSlowly"}


def group(pipeline: Pipeline) -> dict[str, Any] | None:
    """The rules of a pipeline's SLO; None if its file has none."""
    if pipeline.slo is None:
        return None
    endpoint = pipeline.deployment.endpoint
    rules: list[Rule] = []
    if pipeline.slo.availability is not None:
        failing = {window: _failing(endpoint, window) for window in WINDOWS}
        rules += _rules(endpoint, "availability", failing, 1 - pipeline.slo.availability, "fail")
    if pipeline.slo.latency_ms is not None:
        slow = {window: _slow(endpoint, limit_s(pipeline.slo), window) for window in WINDOWS}
        rules += _rules(endpoint, "latency", slow, 1 - pipeline.slo.latency_share, "are slower than the SLO allows")
    return {"name": f"divisions-slo-{endpoint}", "rules": rules}


def limit_s(slo: Slo) -> float:
    """The bucket that holds ``latency_ms``: its upper edge, at most a half above.

    >>> limit_s(Slo(latency_ms=24))
    0.025
    """
    assert slo.latency_ms is not None
    return next(edge for edge in BUCKETS_S if edge >= slo.latency_ms / 1_000 * (1 - 1e-9))


def _rules(endpoint: str, slo: str, shares: dict[str, str], budget: float, what: str) -> list[Rule]:
    labels = {"endpoint": endpoint, "slo": slo}
    records = [{"record": _record(window), "expr": expr, "labels": dict(labels)} for window, expr in shares.items()]
    return [*records, *[_alert(labels, budget, severity, what) for severity in (PAGE, TICKET)]]


def _record(window: str) -> str:
    return f"divisions:slo_misses:ratio_rate{window}"


def _alert(labels: dict[str, str], budget: float, severity: str, what: str) -> Rule:
    selector = f'{{endpoint="{labels["endpoint"]}",slo="{labels["slo"]}"}}'
    parts = []
    for burn in BURNS:
        if burn.severity == severity:
            most = f"{min(burn.rate * budget, MOST_MISSES):.6g}"
            parts.append(f"({_record(burn.long)}{selector} > {most} and {_record(burn.short)}{selector} > {most})")
    summary = f"{labels['endpoint']}: {{{{ $value | humanizePercentage }}}} of the requests {what}."
    return Alert(NAMES[severity], " or ".join(parts), summary, severity).rule(slo=labels["slo"])


def _failing(endpoint: str, window: str) -> str:
    failed = _rate(f'divisions_refused_total{{endpoint="{endpoint}",status=~"5.."}}', window)
    answered = _rate(f'divisions_requests_total{{endpoint="{endpoint}",code="2xx"}}', window)
    return f"{failed} / (({answered} + {failed}) > 0)"


def _slow(endpoint: str, edge_s: float, window: str) -> str:
    fast = _rate(f'divisions_request_seconds_bucket{{endpoint="{endpoint}",le="{edge_s}"}}', window)
    answered = _rate(f'divisions_request_seconds_count{{endpoint="{endpoint}"}}', window)
    return f"1 - {fast} / ({answered} > 0)"


def _rate(series: str, window: str) -> str:
    """Of all gateways and versions; 0 if there is no such series, as before the first failure."""
    return f"(sum(rate({series}[{window}])) or vector(0))"
