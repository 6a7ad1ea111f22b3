"""What the protocol's extensions say of a model: its configuration and its statistics."""

from __future__ import annotations

from typing import Any

from router.oip.columns import DATATYPES
from router.oip.models import PLATFORM, ServedModel, ServedVersion
from router.predict.decode import MAX_ROWS
from router.predict.pool import Pool

_TYPES = {"FP32": "TYPE_FP32", "BOOL": "TYPE_BOOL", "BYTES": "TYPE_STRING"}
"""Datatypes as configurations name them."""


def configuration(model: ServedModel, label: str | None = None) -> dict[str, Any]:
    """The model configuration, of the stable version or the one that is named.

    A row's tensors have no dimension of their own, which a configuration writes as ``[1]``, reshaped to ``[]``.

    Raises:
        UnknownVersionError: the version is not deployed.
    """
    version = model.stable if label is None else model.version(label)
    row = {"dims": [1], "reshape": {"shape": []}}
    return {
        "name": model.name,
        "platform": PLATFORM,
        "backend": "onnxruntime",
        "max_batch_size": MAX_ROWS,
        "input": [
            {"name": feature.name, "data_type": _TYPES[DATATYPES[feature.kind]], **row}
            for feature in version.bounds.features
        ],
        "output": [{"name": model.output, "data_type": "TYPE_FP32", **row}],
        "dynamic_batching": {
            "preferred_batch_size": [version.pool.max_batch],
            "max_queue_delay_microseconds": 0,
        },
        "instance_group": [{"kind": "KIND_AUTO", "count": version.pool.ready_channels}],
        "parameters": {
            "version": {"string_value": version.pool.spec.version},
            "entity": {"string_value": model.endpoint.decoder.entity},
        },
    }


def statistics(model: ServedModel, label: str | None, clock_offset_s: float) -> list[dict[str, Any]]:
    """The statistics of all versions, or of the one that is named.

    Args:
        clock_offset_s: what the monotonic clock lacks to the wall clock.

    Raises:
        UnknownVersionError: the version is not deployed.
    """
    versions: list[ServedVersion] = list(model.versions.values()) if label is None else [model.version(label)]
    return [_of_version(model.name, version.pool, clock_offset_s) for version in versions]


def _of_version(name: str, pool: Pool, clock_offset_s: float) -> dict[str, Any]:
    totals = pool.tally.running_totals()
    answered = totals.requests.get("2xx", 0)
    last_s = max((channel.replied_s for channel in pool.channels.values()), default=0.0)
    unmeasured = _times(answered, 0.0)
    return {
        "name": name,
        "version": pool.spec.version,
        "last_inference": int((last_s + clock_offset_s) * 1000) if last_s else 0,
        "inference_count": pool.tally.rows,
        "execution_count": pool.tally.batches,
        "inference_stats": {
            "success": _times(answered, totals.latency_sum_s),
            "fail": _times(totals.requests.get("5xx", 0), 0.0),
            "queue": _times(answered, max(0.0, totals.latency_sum_s - totals.compute_sum_s)),
            "compute_input": unmeasured,
            "compute_infer": _times(answered, totals.compute_sum_s),
            "compute_output": unmeasured,
            "cache_hit": _times(0, 0.0),
            "cache_miss": _times(0, 0.0),
        },
        "batch_stats": [],
    }


def _times(count: int, seconds: float) -> dict[str, int]:
    return {"count": count, "ns": int(seconds * 1e9)}
