"""The sections of ``docs/benchmarks.md`` and other pages as Markdown, one function for each kind of result. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from benchmarks.harness.machine import Machine
from benchmarks.harness.markdown import markdown_table
from benchmarks.lab.autoscale import AutoscaleResult
from benchmarks.lab.bookkeeping import BookkeepingResult
from benchmarks.lab.capacity import NODES
from benchmarks.lab.drift import MEAN, SPREAD, USUAL_DAY, DriftResult
from benchmarks.lab.explaining import ExplainingResult
from benchmarks.lab.hosts import HostsResult
from benchmarks.lab.kinds import KindsResult, render_kinds
from benchmarks.lab.micro_suite import MicroResult
from benchmarks.lab.online_store import OnlineStoreResult, render_online_store
from benchmarks.lab.outcomes import GOOD_DAYS, OutcomesResult
from benchmarks.lab.scale import ScaleResult
from benchmarks.lab.scaling import ScaleRow
from benchmarks.lab.watching import WatchingResult
from benchmarks.peers.binary import BinaryResult
from benchmarks.peers.comparison import Comparison
from benchmarks.peers.divisions_gateway import NAME
from benchmarks.preparation.growth import PreparationResult
from benchmarks.preparation.worker import Measured


def machine_line(machine: Machine) -> str:
    packages = ", ".join(f"{name} {version}" for name, version in machine.packages.items())
    return (
        f"Measured on {machine.cpu}, {machine.cores} cores, {machine.kernel}, Python {machine.python}, {packages}; "
        f"{'gateway compiled; ' if machine.is_compiled else ''}load average before: {machine.load_average:g}."
    )


def comparison_section(found: Comparison) -> str:
    """One table for each number of connections; ours first, then by throughput. Losses stand like wins."""
    ratios = {(ratio.system, ratio.connections): ratio for ratio in found.ratios}
    parts = [
        f"{machine_line(found.machine)} {found.driver}; medians of {found.rounds} interleaved rounds of "
        f"{found.seconds:g} s after {found.warm_up_s:g} s of warm-up; seed {found.seed}; {found.body_bytes} bytes of "
        "JSON per request."
    ]
    for connections in sorted({row.connections for row in found.rows}):
        rows = [row for row in found.rows if row.connections == connections]
        rows.sort(key=lambda row: (row.system != NAME, -row.rps))
        cells = []
        for row in rows:
            ratio = ratios.get((row.system, connections))
            ours = f"{ratio.rps:.2f} x" if ratio else ""
            cells.append(
                [row.system, f"{row.rps:,.0f}", f"{row.p50_ms:.2f}", f"{row.p99_ms:.2f}", f"{row.errors:,}", ours]
            )
        head = (f"{connections} connections", "req/s", "p50 ms", "p99 ms", "errors", "req/s of ours")
        parts.append(markdown_table(head, cells))
    bullets = [f"- **{name}**: {note}" for name, note in found.notes.items()]
    bullets += [f"- not measured, **{name}**: {why}" for name, why in found.failures.items()]
    bullets += [f"- absent, **{name}**: {why}" for name, why in found.absent.items()]
    return "\n\n".join([*parts, "\n".join(bullets)])


def micro_section(found: MicroResult) -> str:
    rows = [[one.name, _time(one.median_ns), _time(one.min_ns), f"{one.spread:.0%}", one.unit] for one in found.figures]
    return "\n\n".join(
        [
            f"{machine_line(found.machine)} Seed {found.seed}; every sample at least {found.sample_ms:g} ms. Spread is "
            "the middle half's width over the median.",
            markdown_table(("part", "median", "least", "spread", "per"), rows),
        ]
    )


def _time(ns: float) -> str:
    return f"{ns:.0f} ns" if ns < 1_000 else f"{ns / 1e3:,.2f} us"


def scale_section(found: ScaleResult) -> str:
    parts = [
        f"{machine_line(found.machine)} wrk -t{found.driver_threads}, {found.connections} connections; medians "
        f"of {found.rounds} interleaved rounds of {found.seconds:g} s; seed {found.seed}. "
        f"The driver takes {'a core' if found.driver_threads == 1 else f'{found.driver_threads} cores'} as well."
    ]
    if found.rows:
        parts.append(_scale_table(found.rows))
    costs = found.costs
    if costs is None:
        return "\n\n".join(parts)
    parts.append(
        f"**Simulated, not measured.** Costs from the micro-benchmarks: gateway {costs.request_s * 1e6:.1f} us per "
        f"request and {costs.turn_s * 1e6:.1f} us per batch; replica {costs.replica_batch_s * 1e6:.1f} us per batch "
        f"and {costs.replica_row_s * 1e6:.2f} us per row; controller {costs.report_s * 1e6:.1f} us per report. "
        "Each line is the highest load with p99 up to 10 ms and nothing refused."
    )
    for name, series in found.simulated.items():
        lines = [
            [
                str(one.cluster.nodes),
                f"{one.rps_per_node * one.cluster.nodes:,.0f}",
                f"{one.rps_per_node:,.0f}",
                f"{one.efficiency:.0%}",
                f"{one.outcome.p99_ms:.2f}",
                f"{one.outcome.mean_batch:.1f}",
                f"{one.outcome.remote_share:.0%}",
                one.bottleneck,
            ]
            for one in series
        ]
        columns = (f"nodes: {name}", "req/s", "per node", "efficiency", "p99 ms", "batch", "remote", "at its limit")
        parts.append(markdown_table(columns, lines))
    return "\n\n".join(parts)


def _scale_table(found: Sequence[ScaleRow]) -> str:
    rows = [
        [
            f"{row.axis}: {row.value}",
            f"{row.rps:,.0f}",
            f"{row.p50_ms:.2f}",
            f"{row.p99_ms:.2f}",
            f"{row.errors:,}",
            f"{row.gateway_us:.1f}",
            f"{row.replica_us:.1f}",
        ]
        for row in found
    ]
    head = ("measured", "req/s", "p50 ms", "p99 ms", "errors", "gateway CPU us/req", "replica CPU us/req")
    return markdown_table(head, rows)


def hosts_section(found: HostsResult) -> str:
    network = "network namespaces at one bridge" if found.has_namespaces else "processes on the loopback interface"
    calls = found.calls
    parts = [
        f"{machine_line(found.machine)} wrk, one thread for each gateway that is driven, {found.connections} "
        f"connections in all; medians of {found.rounds} interleaved rounds of {found.seconds:g} s; seed {found.seed}; "
        f"hosts are {network}. All share these cores with the drivers, so more hosts do not mean more requests here: "
        "compare the CPU time.",
        _scale_table(found.rows),
        f"A connection costs the replica {found.handshake_us:,.0f} us of CPU for the handshake and keeps "
        f"{found.connection_kb:,.0f} KiB. The controller's process takes {calls.report_s * 1e6:,.0f} us for a report "
        f"of a gateway, {calls.heartbeat_s * 1e6:,.0f} us for a heartbeat of a replica and "
        f"{calls.poll_s * 1e6:,.0f} us for a poll, Ray's share included. A replica takes {calls.replica_bytes:,.0f} "
        "bytes of a table.",
        "**Computed, not measured**, from the costs above: what does not scale with the nodes, and how many nodes "
        "reach its limit.",
    ]
    for name, limits in found.limits.items():
        rows = [
            [
                limit.name,
                f"{limit.max_nodes:,}",
                *(f"{share:.1%}" if share < 10 else "> 1,000%" for share in limit.shares),
            ]
            for limit in limits
        ]
        parts.append(markdown_table((name, "limit at nodes", *(f"{nodes:,}" for nodes in NODES)), rows))
    return "\n\n".join(parts)


def autoscale_section(found: AutoscaleResult) -> str:
    limits = found.limits
    intro = (
        f"{found.days} simulated days, means per day: a peak of {found.peak_rows_per_s:,.0f} rows/s, {found.crowds} "
        f"crowds of four times the load within 10 s, {found.replica_rows_per_s:g} rows/s per replica; limits "
        f"{limits.min} and {limits.max}, target {limits.target_utilization:.0%}; replicas start in 6 to 20 s; 1 % of "
        f"the reports is lost; seed {found.seed}."
    )
    rows = [
        [
            each.rule,
            f"{each.refused / each.rows:.3%}",
            f"{each.late_refused / each.rows:.3%}",
            f"{each.replica_hours:,.0f}",
            f"{each.replica_hours / each.ideal_hours:.2f}",
            f"{each.changes:,}",
            str(each.most),
        ]
        for each in found.rules
    ]
    header = ("rule", "refused", "later than 20 s", "replica-hours", "of the ideal", "changes", "most replicas")
    return f"{intro}\n\n{markdown_table(header, rows)}"


def drift_section(found: DriftResult) -> str:
    alerts, months = sum(found.alerts), len(found.alerts)
    intro = (
        f"{months} months of {found.days} days without drift: {alerts} alerts. {found.rows_per_s:g} requests a second "
        f"in the mean, {found.population:,} customers, {found.columns} columns. A feature that moves by a share of its "
        "mean, the deviation being half the mean:"
    )
    rows = [
        [
            f"{each.size:.0%}",
            "after two weeks" if each.day >= USUAL_DAY else "before",
            f"{each.size * MEAN / SPREAD:g}",
            f"{len(each.seconds)} of {each.runs}",
            f"{statistics.median(each.seconds) / 3600:.1f}" if each.seconds else "-",
            f"{max(each.seconds) / 3600:.1f}" if each.seconds else "-",
            str(each.false_features),
        ]
        for each in found.shifts
    ]
    header = ("moves by", "usual weeks", "deviations", "found in a week", "median hours", "at most", "false alerts")
    return f"{intro}\n\n{markdown_table(header, rows)}"


def outcomes_section(found: OutcomesResult) -> str:
    intro = (
        f"{found.labels_per_day} labels a day, {found.delay_days} days late, {found.positive:.0%} of them positive; "
        f"the gate is {found.gate:g}, and one looks every day. A version whose AUC stayed exactly at the gate gave a "
        f"false alert in {found.false_alerts} of {found.quiet_runs} runs of {found.quiet_days} days. A drop after "
        f"{GOOD_DAYS} good days:"
    )
    rows = [
        [
            f"{drop.before:g} to {drop.after:g}",
            f"{len(drop.labels)} of {drop.runs}",
            f"{statistics.median(drop.labels):,.0f}" if drop.labels else "-",
            f"{max(drop.labels):,}" if drop.labels else "-",
            f"{statistics.median(drop.days):.0f}" if drop.days else "-",
        ]
        for drop in found.drops
    ]
    header = ("AUC", "found", "median labels", "at most", "median days since the drop")
    return f"{intro}\n\n{markdown_table(header, rows)}"


def binary_section(found: BinaryResult) -> str:
    rows = [
        [
            row.system,
            str(row.connections or ""),
            f"{row.rows_per_s:,.0f}",
            f"{row.p50_ms:.2f}" if row.connections else "",
            f"{row.p99_ms:.2f}" if row.connections else "",
            f"{row.errors:,}",
        ]
        for row in found.rows
    ]
    return "\n\n".join(
        [
            f"{machine_line(found.machine)} {found.rows_per_request:,} rows per request, replica batches of up to "
            f"{found.max_batch}; medians of {found.rounds} interleaved rounds of {found.seconds:g} s; seed "
            f"{found.seed}.",
            markdown_table(("system", "connections", "rows/s", "p50 ms", "p99 ms", "errors"), rows),
            f"Our best is {found.ratio:.0%} of the bare loop's best.",
        ]
    )


def bookkeeping_section(found: BookkeepingResult) -> str:
    return (
        f"{machine_line(found.machine)} A canary at {found.canary_bp / 100:g} %, {found.connections} connections, "
        f"{found.rounds} pairs of runs of {found.seconds:g} s, seed {found.seed}. With bookkeeping "
        f"{statistics.median(found.on_rps):,.0f} req/s, without {statistics.median(found.off_rps):,.0f}: it costs "
        f"{found.cost:.1%} of the throughput (median of the pairs' ratios). {found.errors:,} errors."
    )


def watching_section(found: WatchingResult) -> str:
    rows = [
        (name, f"{statistics.median(rps):,.0f}", f"{statistics.median(p99_us) / 1e3:.2f}")
        for name, rps, p99_us in (
            ("watched", found.on_rps, found.on_p99_us),
            ("all off", found.off_rps, found.off_p99_us),
        )
    ]
    return "\n\n".join(
        [
            f"{machine_line(found.machine)} {found.connections} connections, {found.rounds} pairs of runs of "
            f"{found.seconds:g} s, seed {found.seed}; {found.pages} pages, a scrape every {found.scrape_s:g} s, a "
            f"prediction log of {found.sample_bp / 100:g} %.",
            markdown_table(("gateway", "requests/s", "p99 ms"), rows),
            f"Watched, {found.kept:.1%} of the throughput is kept (median of the pairs' ratios). The pages got "
            f"{found.seen.houses:,} events of the house and {found.seen.statuses:,} of the status, "
            f"{found.seen.bytes / 1e6:.1f} MB; there were {found.seen.scrapes:,} scrapes and {found.logged:,} rows "
            f"in the log. {found.errors:,} errors.",
        ]
    )


def explaining_section(found: ExplainingResult) -> str:
    rows = [
        (
            each.case,
            str(each.connections),
            f"{statistics.median(each.rps):,.0f}",
            f"{statistics.median(each.p50_ms):.3g}",
            f"{statistics.median(each.p99_ms):.3g}",
            str(each.errors),
        )
        for each in found.series
    ]
    return "\n\n".join(
        [
            f"{machine_line(found.machine)} {found.features} features, so {found.rows_per_explanation} rows of the "
            f"model for an explanation; medians of {found.rounds} interleaved rounds of {found.seconds:g} s; seed "
            f"{found.seed}.",
            markdown_table(("requests of one row", "connections", "requests/s", "p50 ms", "p99 ms", "errors"), rows),
            f"The client beside plain requests got {statistics.median(found.neighbour_rps):,.0f} explanations per "
            f"second; {found.neighbour_refused:,} were refused in all.",
        ]
    )


def kinds_section(found: KindsResult) -> str:
    return (
        f"{machine_line(found.machine)} Seed {found.seed}.\n\n"
        "Repeated 5-fold cross-validation, means over the held-out customers. The gain is the AUC less that of "
        "scikit-learn's HistGradientBoosting with its defaults on the same folds, with its standard error. Precision "
        f"and recall are those at the chosen threshold (of the baseline at 0.5).\n\n{render_kinds(found)}"
    )


def online_store_section(found: OnlineStoreResult) -> str:
    return (
        f"{machine_line(found.machine)} {found.customers:,} customers with {found.features} features, "
        f"{found.row_bytes} bytes each, seed {found.seed}.\n\n{render_online_store(found)}"
    )


def preparation_section(found: PreparationResult) -> str:
    intro = (
        f"{machine_line(found.machine)} {found.customers:,} customers, {found.columns} columns, {found.threads} "
        f"threads, {found.memory_gb:g} GB for DuckDB; medians of {found.rounds} interleaved runs; seed {found.seed}."
    )
    rows = [
        [
            f"{row.events / 1e6:g} M {row.form}",
            f"{row.divisions.wall_s:.1f}",
            f"{row.divisions.cpu_s:.1f}",
            f"{row.divisions.peak_gb:.2f}",
            f"{row.rows_per_s:,.0f}",
            *([] if row.table is None else _of_theirs(row.table, row.table_wall_ratio, row.table_cpu_ratio)),
            *_of_theirs(row.duckdb, row.wall_ratio, row.cpu_ratio),
        ]
        for row in found.rows
    ]
    kinds = ["rows"] if found.rows[0].table is None else ["table", "rows"]
    theirs = [f"{kind}: {what}" for kind in kinds for what in ("DuckDB s", "CPU s", "peak GB", "our time", "our CPU")]
    head = ("events", "s", "CPU s", "peak GB", "rows/s", *theirs)
    plot = "![Time and memory over the number of events](benchmarks/preparation.svg)"
    return f"{intro}\n\n{markdown_table(head, rows)}\n\n{plot}"


def _of_theirs(theirs: Measured, wall_ratio: float, cpu_ratio: float) -> list[str]:
    times = (f"{theirs.wall_s:.1f}", f"{theirs.cpu_s:.1f}", f"{theirs.peak_gb:.2f}")
    return [*times, f"{wall_ratio:.2f} x", f"{cpu_ratio:.2f} x"]
