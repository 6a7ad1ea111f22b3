"""Pictures of a load run: latency over time with each version in its own colour, and latency over percentile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.load.http_client import Outcome
from benchmarks.load.samples import Samples

# Okabe and Ito's palette: told apart by all common kinds of colour vision. The red is kept for what went wrong.
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9")
_BAD = "#D55E00"
_INK = "#333333"
_MARKERS = ("o", "s", "^", "D", "v")

_BARS = " ▁▂▃▄▅▆▇█"


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened during a run, at a wall-clock time, to be marked in its pictures."""

    at_s: float
    label: str
    is_bad: bool = False


@dataclass(frozen=True, slots=True)
class Series:
    """One version over time; all **Shape** ``[T]``, seconds without answers left out."""

    version: str
    second: NDArray[np.float64]
    answers: NDArray[np.int64]
    p50_ms: NDArray[np.float64]
    p99_ms: NDArray[np.float64]


def latency_series(samples: Samples, bin_s: float = 1.0) -> list[Series]:
    """p50 and p99 of each version in each bin of ``bin_s`` seconds of *scheduled* time."""
    answered = samples.outcome == Outcome.OK
    bins = (samples.scheduled_s / bin_s).astype(np.int64)
    found = []
    for index, name in enumerate(samples.versions):
        own = answered & (samples.version == index)
        if not name or not own.any():
            continue
        seconds = np.unique(bins[own])
        groups = [samples.latency_s[own & (bins == second)] * 1e3 for second in seconds]
        found.append(
            Series(
                name,
                (seconds + 0.5) * bin_s,
                np.array([len(group) for group in groups]),
                np.array([np.percentile(group, 50) for group in groups]),
                np.array([np.percentile(group, 99) for group in groups]),
            )
        )
    return sorted(found, key=lambda series: series.version)


def plot_latency_over_time(samples: Samples, events: Sequence[Event], path: Path, title: str = "") -> None:
    """Above, latency of each version (line: p50, top of the band: p99); below, its share of the traffic."""
    plt = _pyplot()
    series = latency_series(samples)
    figure, (top, bottom) = plt.subplots(
        2, 1, figsize=(11, 6.4), sharex=True, height_ratios=(3, 1), layout="constrained"
    )
    for index, one in enumerate(series):
        colour, marker = _COLOURS[index % len(_COLOURS)], _MARKERS[index % len(_MARKERS)]
        top.fill_between(one.second, one.p50_ms, one.p99_ms, color=colour, alpha=0.18, linewidth=0)
        top.plot(
            one.second, one.p50_ms, color=colour, marker=marker, markersize=3, linewidth=1.4, label=f"v{one.version}"
        )
    _plot_not_ok(samples, top)
    _plot_shares(bottom, series, samples)
    for axes in (top, bottom):
        for event in events:
            axes.axvline(
                event.at_s - samples.start_wall_s,
                color=_BAD if event.is_bad else _INK,
                linewidth=1,
                linestyle="-" if event.is_bad else ":",
            )
    for event in events:
        top.annotate(
            f" {event.label}",
            (event.at_s - samples.start_wall_s, 0.99),
            xycoords=("data", "axes fraction"),
            rotation=90,
            ha="right",
            va="top",
            fontsize=8,
            color=_BAD if event.is_bad else _INK,
        )
    _log_milliseconds(top)
    top.set_ylabel("latency from scheduled send, ms\n(line p50, band up to p99)")
    top.set_title(title or "Latency of each version over time", loc="left", fontsize=11)
    top.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), frameon=False, ncols=len(series) + 1, borderaxespad=0.2)
    bottom.set_ylabel("share of answers, %")
    bottom.set_xlabel("time since the load began, s")
    bottom.set_ylim(0, 100)
    _save(plt, figure, (top, bottom), path)


def plot_percentiles(samples: Samples, path: Path, title: str = "") -> None:
    """Latency over percentile; the axis is logarithmic in the share *above* the percentile, to show tails."""
    plt = _pyplot()
    figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
    answered = samples.outcome == Outcome.OK
    drawn = 0
    for index, name in sorted(enumerate(samples.versions), key=lambda item: item[1]):
        values_ms = np.sort(samples.latency_s[answered & (samples.version == index)]) * 1e3
        if not len(values_ms):
            continue
        above = 1.0 - np.arange(len(values_ms)) / len(values_ms)
        label = f"v{name}" if name else "all"
        axes.plot(1.0 / above, values_ms, color=_COLOURS[drawn % len(_COLOURS)], label=f"{label} ({len(values_ms):,})")
        drawn += 1
    axes.set_xscale("log")
    _log_milliseconds(axes)
    ticks = (1, 2, 10, 100, 1_000, 10_000, 100_000)
    labels = ("0", "50", "90", "99", "99.9", "99.99", "99.999")
    axes.set_xticks(ticks, labels)
    axes.set_xlim(1, max(10, len(samples.latency_s)))
    axes.set_xlabel("percentile of answers")
    axes.set_ylabel("latency from scheduled send, ms")
    axes.set_title(title or "Latency over percentile", loc="left", fontsize=11)
    axes.legend(frameon=False)
    _save(plt, figure, (axes,), path)


def render_text_chart(samples: Samples, width: int = 72) -> str:
    """p50 of each version over time as bars for a terminal; all share one scale, logarithmic like the picture's."""
    if not len(samples.scheduled_s):
        return "no requests"
    length_s = float(samples.scheduled_s.max()) + 1e-6
    series = latency_series(samples, bin_s=length_s / width)
    top_ms = max((float(one.p50_ms.max()) for one in series), default=1.0)
    low_ms = min((float(one.p50_ms.min()) for one in series), default=1.0)
    span = max(np.log(top_ms / low_ms), 1e-9)
    lines = [f"p50 of each version over {length_s:.0f} s; bars from {low_ms:.1f} to {top_ms:.1f} ms, logarithmic"]
    for one in series:
        cells = [" "] * width
        for second, value_ms in zip(one.second, one.p50_ms, strict=True):
            level = 1 + round(float(np.log(value_ms / low_ms) / span) * (len(_BARS) - 2))
            cells[min(width - 1, int(second / length_s * width))] = _BARS[level]
        lines.append(f"v{one.version:<6}|{''.join(cells)}|")
    return "\n".join(lines)


def _plot_not_ok(samples: Samples, axes: Any) -> None:
    bad = samples.outcome != Outcome.OK
    if bad.any():
        axes.plot(
            samples.scheduled_s[bad],
            np.maximum(samples.latency_s[bad] * 1e3, 0.05),
            linestyle="",
            marker="x",
            markersize=5,
            color=_BAD,
            label=f"not ok ({int(bad.sum()):,})",
        )


def _log_milliseconds(axes: Any) -> None:
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(lambda value, _position: f"{value:g}")


def _plot_shares(axes: Any, series: Sequence[Series], samples: Samples) -> None:
    if not series:
        return
    seconds = np.arange(int(samples.scheduled_s.max()) + 1) + 0.5
    answers = np.zeros((len(series), len(seconds)))
    for row, one in enumerate(series):
        answers[row, one.second.astype(np.int64)] = one.answers
    shares = 100.0 * answers / np.maximum(answers.sum(axis=0), 1)
    axes.stackplot(
        seconds, shares, colors=[_COLOURS[i % len(_COLOURS)] for i in range(len(series))], alpha=0.75, step="mid"
    )


def _pyplot() -> Any:
    import matplotlib as mpl

    mpl.use("Agg")  # no display is needed or looked for
    import matplotlib.pyplot as plt

    return plt


def _save(plt: Any, figure: Any, axes: Sequence[Any], path: Path) -> None:
    for one in axes:
        one.grid(visible=True, which="major", color="#DDDDDD", linewidth=0.6)
        one.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=130)
    plt.close(figure)
