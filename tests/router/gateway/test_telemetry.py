"""The buckets of latencies are part of the metrics' format: dashboards and alerts name them."""

from router.gateway.telemetry import BUCKETS_S


def test_the_buckets_are_those_that_dashboards_know():
    milliseconds = [0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000]
    assert [bucket_s * 1_000 for bucket_s in BUCKETS_S] == milliseconds
