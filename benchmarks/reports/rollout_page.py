"""docs/rollouts-study.md, written from the rows of the study and nothing else. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

from benchmarks.canaries.baselines import METHODS
from benchmarks.canaries.scenarios import SCENARIOS
from benchmarks.canaries.study import OURS, Row, Study, median_of, trusted_baselines, winner
from benchmarks.reports.rollout_plots import DELAYS, FALSE_RATES
from divisions.errors import UsageError

BARS_S = {"x1.5": 8.0, "x1.2": 20.0, "slow_10pct": 20.0, "tail_5pct": 90.0}
"""The most seconds that the median detection may take at 1,000 requests/s and 20 %."""
MAX_FALSE_RATE = 0.01
MIN_ROLLOUTS = 2_000
BAR_RPS = 1_000.0

_BEGIN, _END = "<!-- promises: written by benchmarks.rollouts -->", "<!-- end of promises -->"

_INTRO = """# Rollouts, simulated

What the guards of [rollouts](rollouts.md) do on simulated traffic, compared with what other systems would have done
on the same traffic. `python -m benchmarks.rollouts --rollouts 0 --into docs/benchmarks/rollouts.json` writes this
page from that file, and a test compares them. To add or replace rows: `python -m benchmarks.rollouts --rollouts 200
--seed 1 --rps 1000 --scenario x1.2 --into docs/benchmarks/rollouts.json`.

**The traffic.** Arrivals are Poisson, with a rate that swings by ±40 %. Latencies are log-normal (median 2 ms, σ 0.5)
and follow the load; 2 % of them are a Pareto tail (α 1.5). Each version has two replicas, each of which stalls once a
minute for 150 ms in the median. 20,000 customers send by Zipf's law, each at a slightly different pace (σ 0.1). 0.05
% of requests fail. In `aa_heavy` few customers carry more of the traffic and paces differ much (σ 0.5). In `aa_busy`
and `capacity` requests queue for four workers per version; half of the workers are busy when one version has all of
the load.

**Divisions** is not modelled: the modules of production run, with their defaults, through 20 % → 50 % → 97 %. They
are the gateway's split, salt search, breaker and histograms, and the controller's windows, analysis and state
machine. Delays count from the first bad request. They include the warm-up that is left out (200 requests) and the two
seconds until a second is reported. The simulation leaves out networks, several gateways, lost reports, and requests
that time out in the gateway. (A request that hangs counts with its age when it is reported, and no breaker sees it.)

**The others** stay at 20 % and look once a minute, as they do. `static_p99` is Flagger's way: p99 over 1.25 × that of
the minute before the rollout, or under 99 % successful, five times. `p99_ratio` compares with stable's p99 of the
same minute, once. `mann_whitney_*` is Kayenta's judge with its defaults (98 % interval, a quarter of the estimate) on
points of 1, 10 or 60 s. Their splits are by request and not sticky, so heavy customers cannot mislead them.
"""

_LIMITS = """## What this shows, and what not

- Evidence is valid for requests that are assigned by chance. Here chance assigns customers. If few customers carry
  much of the traffic and differ by more than the tolerance, two equal versions do look different (`aa_heavy`). The
  choice of salt makes the difference smaller. Comparing customers with their own past removes what the last minute
  has shown of it. Customers who change their behaviour during the rollout would still mislead.
- Stalls slow requests together. Two rules keep them from counting too much: requests of one second count for fewer
  (`router/evidence/clustering.py`), and the weight of a second is capped. The price is paid where traffic is thin: at
  50 requests/s a growing tail is found later than by Flagger's check, and not in every rollout.
- A warm-up that lasts longer than what is left out (200 requests of the version, or 60 s) counts as slow.
  `warm_up_long` lasts twice as long. Raise `warmup_requests` and `warmup_s` for such versions.
- While baking, 97 % of the load is compared with 3 %. The rule for different loads
  (`router/evidence/latency_evidence.py`) does not blame the canary for queues, up to about three quarters of the
  capacity (`aa_busy`). Above that it may. In return it needs more seconds for a version that goes bad only then, and
  hides a slow-down that is no more than the load has grown.
- `x1.1` lies within the tolerance of 10.4 %, at its edge. It passes because customers are compared with their own
  past.
- `lost_replica` never passes, because arms with different capacity are not compared. After `max_dwell_s` the rollout
  asks the operator.
- Rows of 100 rollouts bound a rate of false rollbacks at 3.6 % at best. Only `aa` at 1,000 requests/s was simulated
  often enough to bound it at 1 %.
"""


def render_page(study: Study) -> str:
    machine = study.machine
    parts = [
        _INTRO,
        "## Promises\n\n" + _bars(study.rows),
        "## Faultless canaries\n\nRolled back, % (95 % Clopper-Pearson interval). Fewer is better; the best are"
        " bold. Where there are two numbers of rollouts, the first is that of Divisions.\n\n"
        + _false_table(study.rows)
        + f"\n![False rollbacks by method](benchmarks/{FALSE_RATES})\n",
        "## Bad canaries\n\nSeconds from the first bad request to the decision, median (95th percentile) over all"
        " rollouts; “never” where that many were not found within ten minutes (for Divisions: within the rollout)."
        " The best median is bold, among methods that may roll back at most 5 % of equal versions at that rate. Others"
        " are in parentheses: a method that fires at everything fires early.\n\n"
        + _delay_table(study.rows)
        + f"\n![Delays by method](benchmarks/{DELAYS})\n",
        "## What it costs callers\n\nCanary requests until the decision, and of them those harmed (failed, or more than"
        " 5 % slower), in the median, at the rates above. Waiting in queues is not counted as harm."
        "\n\n" + _harm_table(study.rows),
        _LIMITS,
        f"Simulated with {', '.join(f'{name} {found}' for name, found in machine.packages.items() if name == 'numpy')},"
        f" Python {machine.python}; seed {_seeds(study.rows)}. Nothing here depends on the speed of the machine.\n",
    ]
    return "\n".join(parts)


def put_promises(page: str, rows: Sequence[Row]) -> str:
    """The page with the promises between its two marks written anew."""
    before, found, rest = page.partition(_BEGIN)
    _, ended, after = rest.partition(_END)
    if not found or not ended:
        raise UsageError(f"the page lacks the line {_BEGIN if not found else _END!r}")
    return f"{before}{_BEGIN}\n{_bars(rows)}{_END}{after}"


def render_table(rows: Sequence[Row]) -> str:
    """All rows, for a terminal."""
    head = f"{'scenario':<13}{'method':<18}{'req/s':>7}{'n':>6}{'back':>6}{'false %':>9}{'95 % interval':>16}"
    lines = [head + f"{'p50 s':>8}{'p95 s':>8}{'requests':>10}{'harmed':>8}"]
    for row in rows:
        interval = f"{100 * row.ci_low:.2f}-{100 * row.ci_high:.2f}"
        lines.append(
            f"{row.scenario:<13}{row.method:<18}{row.rps:>7g}{row.rollouts:>6}{row.rolled_back:>6}"
            f"{100 * row.false_rollback_rate:>9.2f}{interval:>16}{_seconds(row.delay_s_p50):>8}"
            f"{_seconds(row.delay_s_p95):>8}{_count(row.canary_requests_p50):>10}{_count(row.harmed_requests_p50):>8}"
        )
    return "\n".join(lines)


def _bars(rows: Sequence[Row]) -> str:
    lines = ["| promise, at 1,000 requests/s | found | kept |", "|---|---|---|"]
    aa = _row(rows, "aa", BAR_RPS, OURS)
    if aa is not None:
        is_kept = aa.ci_high <= MAX_FALSE_RATE and aa.rollouts >= MIN_ROLLOUTS
        lines.append(
            f"| equal versions: false rollbacks ≤ 1 % (upper end), over ≥ {MIN_ROLLOUTS:,} rollouts "
            f"| {aa.rolled_back} of {aa.rollouts:,}: {_rate(aa)} %; {aa.held} held | {_kept(is_kept)} |"
        )
    for name, limit_s in BARS_S.items():
        found_s = median_of(rows, name, BAR_RPS)
        if not math.isnan(found_s):
            title = SCENARIOS[name].title
            lines.append(f"| {title}: median ≤ {limit_s:g} s | {found_s:.1f} s | {_kept(found_s <= limit_s)} |")
    warm = _row(rows, "warm_up", BAR_RPS, OURS)
    if warm is not None:
        what = f"{warm.rolled_back} of {warm.rollouts:,}"
        lines.append(f"| slow only while warming up: never | {what} | {_kept(warm.rolled_back == 0)} |")
    trusted = trusted_baselines(rows, BAR_RPS)
    bad = [name for name in SCENARIOS if SCENARIOS[name].is_bad and _row(rows, name, BAR_RPS, OURS)]
    lost = [name for name in bad if winner(rows, name, BAR_RPS) not in {OURS, ""}]
    if trusted and bad:
        what = f"all of {len(bad)} scenarios" if not lost else f"not in {', '.join(lost)}"
        lines.append(
            f"| faster than {', '.join(trusted)} (false rate ≤ 5 % or perhaps so) | {what} | {_kept(not lost)} |"
        )
    return "\n".join(lines) + "\n"


def _false_table(rows: Sequence[Row]) -> str:
    def cell(row: Row, best: float) -> str:
        text = _rate(row)
        return f"**{text}**" if row.false_rollback_rate == best else text

    lines = _head()
    for name, rps, entered in _entries(rows, is_bad=False):
        best = min(row.false_rollback_rate for row in entered.values())
        lines.append(_line(name, rps, entered, [cell(row, best) for row in entered.values()]))
    return "\n".join(lines) + "\n"


def _delay_table(rows: Sequence[Row]) -> str:
    def cell(row: Row, best: str, trusted: set[str]) -> str:
        text = f"{_seconds(row.delay_s_p50)} ({_seconds(row.delay_s_p95)})" if row.delay_s_p50 is not None else "never"
        if row.method == best:
            return f"**{text}**"
        return text if row.method in trusted else f"({text})"

    lines = _head()
    for name, rps, entered in _entries(rows, is_bad=True):
        best, trusted = winner(rows, name, rps), {OURS, *trusted_baselines(rows, rps)}
        lines.append(_line(name, rps, entered, [cell(row, best, trusted) for row in entered.values()]))
    return "\n".join(lines) + "\n"


def _harm_table(rows: Sequence[Row]) -> str:
    lines = _head()
    for name, rps, entered in _entries(rows, is_bad=True):
        cells = [f"{_count(row.canary_requests_p50)}, {_count(row.harmed_requests_p50)}" for row in entered.values()]
        lines.append(_line(name, rps, entered, cells))
    return "\n".join(lines) + "\n"


def _head() -> list[str]:
    methods = (OURS, *METHODS)
    return [f"| canary | req/s | rollouts | {' | '.join(methods)} |", "|---|---|---|" + "---|" * len(methods)]


def _line(name: str, rps: float, entered: dict[str, Row], cells: Sequence[str]) -> str:
    by_method = dict(zip(entered, cells, strict=True))
    shown = [by_method.get(method, "") for method in (OURS, *METHODS)]
    rollouts = " / ".join(f"{number:,}" for number in dict.fromkeys(row.rollouts for row in entered.values()))
    return f"| `{name}`: {SCENARIOS[name].title} | {rps:,g} | {rollouts} | {' | '.join(shown)} |"


def _entries(rows: Sequence[Row], *, is_bad: bool) -> list[tuple[str, float, dict[str, Row]]]:
    keys = dict.fromkeys((row.scenario, row.rps) for row in rows if SCENARIOS[row.scenario].is_bad is is_bad)
    return [
        (name, rps, {row.method: row for row in rows if (row.scenario, row.rps) == (name, rps)}) for name, rps in keys
    ]


def _row(rows: Sequence[Row], scenario: str, rps: float, method: str) -> Row | None:
    return next((row for row in rows if (row.scenario, row.rps, row.method) == (scenario, rps, method)), None)


def _rate(row: Row) -> str:
    return f"{100 * row.false_rollback_rate:.2f} ({100 * row.ci_low:.2f}-{100 * row.ci_high:.2f})"


def _kept(is_kept: bool) -> str:
    return "yes" if is_kept else "**no**"


def _seconds(value: float | None) -> str:
    if value is None:
        return "never"
    return f"{value:.2f}" if value < 1 else f"{value:.1f}" if value < 100 else f"{value:.0f}"


def _count(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def _seeds(rows: Sequence[Row]) -> str:
    return ", ".join(str(seed) for seed in sorted({row.seed for row in rows}))
