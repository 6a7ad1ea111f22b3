"""The minutes of an endpoint's two variants, from CloudWatch."""

from __future__ import annotations

import datetime as dt
from typing import Any, Final

from deploy.aws.session import AwsSession
from deploy.shipping.sagemaker.evidence import MINUTE_S, Arm, Minute

NAMESPACE: Final = "AWS/SageMaker"
_READ: Final = {
    "requests": ("Invocations", "Sum"),
    "errors": ("Invocation5XXErrors", "Sum"),
    "latency": ("ModelLatency", "Average"),  # in microseconds, without SageMaker's own overhead
}


def read_minutes(
    session: AwsSession, endpoint: str, stable: str, canary: str, since_s: float, now_s: float
) -> list[Minute]:
    """The whole minutes from ``since_s``, in which one of the two variants had requests.

    Raises:
        CloudError: CloudWatch does not answer, or refuses.
    """
    start_s = -(-since_s // MINUTE_S) * MINUTE_S
    if start_s + MINUTE_S > now_s:
        return []
    arms = {"s": stable, "c": canary}
    queries = [
        _query(f"{arm}_{what}", endpoint, variant, metric, statistic)
        for arm, variant in arms.items()
        for what, (metric, statistic) in _READ.items()
    ]
    values: dict[str, dict[float, float]] = {query["Id"]: {} for query in queries}
    token: dict[str, str] = {}
    while True:
        reply = session.call(
            "cloudwatch",
            "get_metric_data",
            f"reading the metrics of endpoint {endpoint}",
            MetricDataQueries=queries,
            StartTime=dt.datetime.fromtimestamp(start_s, dt.UTC),
            EndTime=dt.datetime.fromtimestamp(now_s, dt.UTC),
            ScanBy="TimestampAscending",
            **token,
        )
        for series in reply["MetricDataResults"]:
            for at, value in zip(series["Timestamps"], series["Values"], strict=True):
                values[series["Id"]][at.timestamp() // MINUTE_S * MINUTE_S] = value
        if not reply.get("NextToken"):
            break
        token = {"NextToken": reply["NextToken"]}
    starts = sorted({start for each in ("s_requests", "c_requests") for start in values[each]})
    return [Minute(start, _arm(values, "s", start), _arm(values, "c", start)) for start in starts]


def _arm(values: dict[str, dict[float, float]], arm: str, start_s: float) -> Arm:
    requests = round(values[f"{arm}_requests"].get(start_s, 0.0))
    latency_us = values[f"{arm}_latency"].get(start_s)
    errors = min(requests, round(values[f"{arm}_errors"].get(start_s, 0.0)))
    return Arm(requests, errors, None if latency_us is None or not requests else latency_us / 1_000)


def _query(name: str, endpoint: str, variant: str, metric: str, statistic: str) -> dict[str, Any]:
    dimensions = [{"Name": "EndpointName", "Value": endpoint}, {"Name": "VariantName", "Value": variant}]
    found = {"Namespace": NAMESPACE, "MetricName": metric, "Dimensions": dimensions}
    return {"Id": name, "MetricStat": {"Metric": found, "Period": int(MINUTE_S), "Stat": statistic}}
