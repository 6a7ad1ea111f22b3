"""How data preparation grows with its input: ``python -m benchmarks.preparation --output json``.

Events of a million customers are generated. Ours, `trainers.data.preparation.prepare`, makes a training table of them:
checks, duplicates, kinds, the latest event of each customer, encoding, the split, hashes. Beside it, plain DuckDB makes
the same table, and once only the rows that it is made of (`benchmarks.preparation.plain_duckdb`). Each run is a process
of its own, with the same number of threads and the same limit for DuckDB's memory; the systems take turns.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from benchmarks.harness.command import Say, benchmark_parser, parse_counts, run_benchmark
from benchmarks.harness.machine import Machine, describe_machine
from benchmarks.preparation.raw_input import NUM_COLUMNS, write_events
from benchmarks.preparation.worker import SYSTEMS, Measured, Work

CUSTOMERS = 1_000_000
_MILLION = 1_000_000


class GrowthRow(msgspec.Struct, frozen=True):
    """One input: medians over the rounds.

    ``wall_ratio`` and ``cpu_ratio`` are ours to DuckDB's for the rows alone; those of the table, for all that we make.
    """

    form: str
    events: int
    file_gb: float
    divisions: Measured
    duckdb: Measured
    wall_ratio: float
    cpu_ratio: float
    table: Measured | None = None
    table_wall_ratio: float = 0.0
    table_cpu_ratio: float = 0.0

    @property
    def rows_per_s(self) -> float:
        return self.events / self.divisions.wall_s


class PreparationResult(msgspec.Struct, frozen=True, tag="preparation"):
    """``runs`` has every single run, in order: the input, the system, what was measured."""

    machine: Machine
    seed: int
    customers: int
    columns: int
    threads: int
    memory_gb: float
    rounds: int
    rows: list[GrowthRow]
    runs: list[tuple[str, str, Measured]]


def medians(found: Sequence[Measured]) -> Measured:
    """The median times, and the greatest memory."""
    return Measured(
        statistics.median(one.wall_s for one in found),
        statistics.median(one.cpu_s for one in found),
        max(one.peak_gb for one in found),
        found[0].customers,
    )


def row_of(form: str, events: int, file_bytes: int, found: dict[str, list[Measured]]) -> GrowthRow:
    ours, rows, table = (medians(found[name]) for name in ("divisions", "duckdb", "duckdb table"))
    for theirs in (rows, table):
        if ours.customers != theirs.customers:
            raise RuntimeError(f"{events:,} events: {ours.customers:,} customers, but DuckDB has {theirs.customers:,}")
    return GrowthRow(
        form, events, round(file_bytes / 1e9, 3), ours, rows, *_ratios(ours, rows), table, *_ratios(ours, table)
    )


def _ratios(ours: Measured, theirs: Measured) -> tuple[float, float]:
    return round(ours.wall_s / theirs.wall_s, 2), round(ours.cpu_s / theirs.cpu_s, 2)


def run_worker(work: Work) -> Measured:
    """Runs one preparation in a process of its own.

    Raises:
        RuntimeError: it failed.
    """
    command = [sys.executable, "-m", "benchmarks.preparation.worker", msgspec.json.encode(work).decode()]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{work.system} failed on {work.source}: {done.stderr.strip()[-500:]}")
    return msgspec.json.decode(done.stdout, type=Measured)


def measure_input(
    work: Path, form: str, events: int, options: PreparationOptions, say: Say
) -> tuple[GrowthRow, list[tuple[str, str, Measured]]]:
    """Generates one input, measures both systems in turns, and removes it."""
    source = work / f"events.{form}"
    write_events(source, events, options.customers, options.seed, options.threads)
    found: dict[str, list[Measured]] = {name: [] for name in SYSTEMS}
    runs = []
    for number in range(options.rounds):
        for name in list(SYSTEMS)[:: 1 if number % 2 else -1]:
            one = run_worker(Work(name, str(source), str(work), options.threads, options.memory_gb))
            found[name].append(one)
            runs.append((f"{events / _MILLION:g} M {form}", name, one))
            say(f"{events:,} {form} {name}: {one.wall_s:.1f} s, {one.cpu_s:.1f} CPU s, {one.peak_gb:.2f} GB")
    row = row_of(form, events, source.stat().st_size, found)
    source.unlink()
    return row, runs


class PreparationOptions(msgspec.Struct, frozen=True):
    """See the command's options."""

    customers: int
    seed: int
    threads: int
    memory_gb: float
    rounds: int


def render_preparation(found: PreparationResult) -> str:
    return "\n".join(
        f"{row.events:,} events of {row.form}: {row.divisions.wall_s:.1f} s ({row.rows_per_s:,.0f} rows/s), "
        f"{row.divisions.cpu_s:.1f} CPU s, {row.divisions.peak_gb:.2f} GB; DuckDB {row.duckdb.wall_s:.1f} s, "
        f"{row.duckdb.cpu_s:.1f} CPU s, {row.duckdb.peak_gb:.2f} GB; "
        f"ratio {row.wall_ratio:.2f} (CPU {row.cpu_ratio:.2f}), "
        f"to the whole table {row.table_wall_ratio:.2f} (CPU {row.table_cpu_ratio:.2f})"
        for row in found.rows
    )


def plot_preparation(found: PreparationResult, path: Path) -> None:
    """Time and memory over the number of events of Parquet."""
    import matplotlib as mpl

    mpl.use("Agg")  # no display is needed or looked for
    from matplotlib import pyplot as plt

    rows = [row for row in found.rows if row.form == "parquet"]
    figure, panels = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for name, marker in (("divisions", "o"), ("duckdb", "s")):
        own: list[Measured] = [getattr(row, name) for row in rows]
        millions = [row.events / _MILLION for row in rows]
        panels[0].plot(millions, [one.wall_s for one in own], marker=marker, label=name)
        panels[1].plot(millions, [one.peak_gb for one in own], marker=marker, label=name)
    for axes, what in zip(panels, ("s", "peak memory, GB"), strict=True):
        axes.set(xlabel="million events", ylabel=what, ylim=(0, None))
        axes.legend(frameon=False)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = benchmark_parser("preparation", "Data preparation against plain DuckDB.")
    parser.add_argument("--sizes", default="1,3,10,20", help="million events of Parquet (default 1,3,10,20)")
    parser.add_argument("--csv-sizes", default="1", help="million events of CSV (default 1)")
    parser.add_argument("--customers", type=int, default=CUSTOMERS, help="different customers (default 1000000)")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of both (default: the cores)")
    parser.add_argument("--memory-gb", type=float, default=1.0, help="DuckDB's limit in both (default 1)")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each system per input (default 3)")
    parser.add_argument("--plot", type=Path, help="draw time and memory over the events into this file")
    options = parser.parse_args(arguments)
    how = PreparationOptions(
        options.customers, options.seed, options.threads, options.memory_gb, max(1, options.rounds)
    )

    def measure(work: Path, say: Say) -> PreparationResult:
        sizes = [("csv", size) for size in parse_counts("--csv-sizes", options.csv_sizes)]
        sizes += [("parquet", size) for size in parse_counts("--sizes", options.sizes)]
        machine = describe_machine(("divisions", "duckdb", "pandas", "pyarrow", "numpy"))
        rows, runs = [], []
        for form, size in sizes:
            row, own = measure_input(work, form, size * _MILLION, how, say)
            rows.append(row)
            runs += own
        found = PreparationResult(
            machine, how.seed, how.customers, NUM_COLUMNS, how.threads, how.memory_gb, how.rounds, rows, runs
        )
        if options.plot:
            plot_preparation(found, options.plot)
        return found

    return run_benchmark(options, measure, render_preparation)
