"""Pictures of the study of rollouts: how fast bad canaries are found, and how often good ones are rolled back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.canaries.baselines import METHODS
from benchmarks.canaries.scenarios import SCENARIOS
from benchmarks.canaries.study import OURS, Row

DELAYS, FALSE_RATES = "rollout-delays.png", "rollout-false-rates.png"
PICTURED_RPS = 1_000.0
# Okabe and Ito's palette, told apart by all common kinds of colour vision; markers differ too.
_LOOKS = {
    OURS: ("#0072B2", "o"),
    "static_p99": ("#E69F00", "s"),
    "p99_ratio": ("#D55E00", "^"),
    "mann_whitney_1s": ("#009E73", "D"),
    "mann_whitney_10s": ("#56B4E9", "v"),
    "mann_whitney_60s": ("#CC79A7", "P"),
}
_NEVER_S = 2_000.0


def draw_plots(rows: Sequence[Row], folder: Path) -> None:
    """Draws both pictures from the rows at `PICTURED_RPS` into the folder."""
    import matplotlib as mpl

    mpl.use("Agg")  # no display is needed or looked for
    import matplotlib.pyplot as plt

    own = [row for row in rows if row.rps == PICTURED_RPS]
    _draw_delays(plt, own, folder / DELAYS)
    _draw_false_rates(plt, own, folder / FALSE_RATES)


def _draw_delays(plt: Any, rows: Sequence[Row], path: Path) -> None:
    names = [name for name, scenario in SCENARIOS.items() if scenario.is_bad and any(r.scenario == name for r in rows)]
    figure, axes = plt.subplots(figsize=(8.5, 0.42 * len(names) + 1.9), layout="constrained")
    for method, (colour, marker) in _LOOKS.items():
        found = {row.scenario: row for row in rows if row.method == method}
        offset = (list(_LOOKS).index(method) - 2.5) * 0.11
        places = [names.index(name) + offset for name in names if name in found]
        medians = [found[name].delay_s_p50 or _NEVER_S for name in names if name in found]
        axes.plot(medians, places, linestyle="", marker=marker, color=colour, markersize=5, label=method)
    axes.set_xscale("log")
    axes.axvline(_NEVER_S, color="#999999", linewidth=0.8, linestyle=":")
    axes.set_xticks([0.1, 1, 10, 60, 600, _NEVER_S], ["0.1", "1", "10", "60", "600", "most\nnever"])
    axes.minorticks_off()
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlabel("from the first bad request to the decision, s (median)")
    axes.set_title("How fast bad canaries are found, 1,000 requests/s", loc="left", fontsize=10)
    _finish(plt, figure, axes, path)


def _draw_false_rates(plt: Any, rows: Sequence[Row], path: Path) -> None:
    names = [
        name for name, scenario in SCENARIOS.items() if not scenario.is_bad and any(r.scenario == name for r in rows)
    ]
    figure, axes = plt.subplots(figsize=(8.5, 0.5 * len(names) + 1.9), layout="constrained")
    for index, method in enumerate((OURS, *METHODS)):
        colour, marker = _LOOKS[method]
        for row in rows:
            if row.method != method or row.scenario not in names:
                continue
            place = names.index(row.scenario) + (index - 2.5) * 0.12
            rate = 100 * row.false_rollback_rate
            ends = [[max(0.0, rate - 100 * row.ci_low)], [max(0.0, 100 * row.ci_high - rate)]]
            label = method if row.scenario == names[0] else None
            axes.errorbar(
                rate,
                place,
                xerr=ends,
                color=colour,
                marker=marker,
                markersize=4,
                linewidth=1,
                linestyle="",
                label=label,
            )
    axes.axvline(1.0, color="#333333", linewidth=0.8, linestyle="--")
    axes.set_xscale("symlog", linthresh=1.0)
    axes.set_xticks([0, 0.5, 1, 5, 20, 100], ["0", "0.5", "1 (alpha)", "5", "20", "100"])
    axes.set_xlim(-0.05, 110)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlabel("faultless canaries rolled back, % (95 % Clopper-Pearson interval)")
    axes.set_title("How often good canaries are rolled back, 1,000 requests/s", loc="left", fontsize=10)
    _finish(plt, figure, axes, path)


def _finish(plt: Any, figure: Any, axes: Any, path: Path) -> None:
    axes.grid(visible=True, axis="x", color="#DDDDDD", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    figure.savefig(path, dpi=100)
    plt.close(figure)
