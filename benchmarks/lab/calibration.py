"""From micro-benchmarks to the simulation's costs. Pure.

The gateway's figures are whole requests in memory, without the kernel. So one read and one write are added for each
request, from the figure of TCP. One of each is added for each batch, at the gateway and at the replica, from the figure
of a Unix socket. The time to wake a sleeping process is in neither.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from benchmarks.harness.stopwatch import Figure
from benchmarks.lab.micro_cases import ENGINE_ROWS, engine_case, kernel_case
from benchmarks.lab.simulation import Costs
from divisions.errors import InputError

GATEWAY_1 = "gateway: 1 request in one turn"
GATEWAY_64 = "gateway: 64 requests in one turn"
KERNEL_REQUEST = kernel_case("TCP")
KERNEL_BATCH = kernel_case("a Unix socket")
REPORT = "histogram: controller decodes and merges a report"
CHANNEL = ("channel: decode request of 64", "channel: encode reply of 64")


def calibrate_costs(figures: Sequence[Figure]) -> Costs:
    """Costs from the medians.

    Raises:
        InputError: a figure is missing.
    """
    median_s = {figure.name: figure.median_ns * 1e-9 for figure in figures}
    try:
        return _calibrate(median_s)
    except KeyError as error:
        raise InputError(
            f"the micro-benchmarks' result has no figure {error.args[0]!r}",
            remedy="run `python -m benchmarks.micro` again",
        ) from None


def _calibrate(median_s: Mapping[str, float]) -> Costs:
    one_s, many_s = median_s[GATEWAY_1], 64 * median_s[GATEWAY_64]  # figures are per request
    request_s = (many_s - one_s) / 63
    rows = np.array(ENGINE_ROWS, float)
    engine_s = np.array([median_s[engine_case(count)] for count in ENGINE_ROWS])
    row_s, batch_s = np.polyfit(rows, engine_s, 1)
    batch_kernel_s = median_s[KERNEL_BATCH]
    return Costs(
        request_s=request_s + median_s[KERNEL_REQUEST],
        turn_s=max(0.0, one_s - request_s) + batch_kernel_s,
        # A straight line through few points can meet the axis below what one row takes.
        replica_batch_s=max(float(batch_s), 0.0) + sum(median_s[name] for name in CHANNEL) + batch_kernel_s,
        replica_row_s=max(float(row_s), 1e-9),
        report_s=median_s[REPORT],
    )
