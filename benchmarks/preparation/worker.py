"""One measured preparation, in a process of its own: ``python -m benchmarks.preparation.worker OPTIONS``.

The clock starts after the imports. The greatest resident memory is the process's own, by the kernel.
"""

from __future__ import annotations

import datetime as dt
import json
import re
import resource
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.preparation.plain_duckdb import queries, table_queries
from benchmarks.preparation.raw_input import AS_OF

LABEL = "churn"


class Work(msgspec.Struct, frozen=True):
    """What to run. ``memory_gb`` is DuckDB's limit; ``folder`` takes the output."""

    system: str
    source: str
    folder: str
    threads: int
    memory_gb: float


class Measured(msgspec.Struct, frozen=True):
    """``peak_gb`` is the greatest resident memory of the process, imports included."""

    wall_s: float
    cpu_s: float
    peak_gb: float
    customers: int


def divisions(work: Work) -> Callable[[], int]:
    import duckdb  # noqa: F401  # imported before the clock starts, like the others
    import pandas as pd  # noqa: F401
    import pyarrow.csv
    import pyarrow.parquet  # noqa: F401

    from divisions.pipeline.definition import Features
    from divisions.settings import S3Settings
    from trainers.data.engine import Limits
    from trainers.data.ingest import Reading
    from trainers.data.preparation import PreparationTask, prepare

    as_of = dt.datetime.fromisoformat(AS_OF).replace(tzinfo=dt.UTC)
    reading = Reading(
        limits=Limits(work.threads, work.memory_gb),
        as_of=as_of,
        now=as_of + dt.timedelta(days=365),
        is_latest_only=True,
        newest=Path(work.folder, "newest.parquet"),
    )
    task = PreparationTask(work.source, Features(), LABEL, 0, S3Settings(), (), reading=reading)
    return lambda: len(prepare(task).table)


def plain(work: Work) -> Callable[[], int]:
    import duckdb
    import pyarrow.parquet as pq

    target = Path(work.folder, "latest.parquet")

    def run() -> int:
        with duckdb.connect(config=_options(work)) as connection:
            for query in queries(Path(work.source), target, AS_OF):
                connection.execute(query).fetchall()
        return int(pq.read_metadata(target).num_rows)

    return run


def plain_table(work: Work) -> Callable[[], int]:
    import duckdb
    import numpy as np

    statements, training = table_queries(Path(work.source), Path(work.folder, "latest.parquet"), AS_OF)

    def run() -> int:
        with duckdb.connect(config=_options(work)) as connection:
            for query in statements:
                connection.execute(query).fetchall()
            found = connection.execute(training).fetchnumpy()
        names = [name for name in found if name not in {"customer_id", "is_held", LABEL}]
        x_NF = np.empty((len(found[LABEL]), len(names)), np.float32)
        for index, name in enumerate(names):
            x_NF[:, index] = np.ma.filled(found[name], np.nan)
        is_held_N = found["is_held"]
        return len(x_NF[~is_held_N]) + len(x_NF[is_held_N])

    return run


def _options(work: Work) -> dict[str, Any]:
    return {
        "threads": work.threads,
        "memory_limit": f"{int(work.memory_gb * 1000)}MB",
        "temp_directory": f"{work.folder}/spill",
        # Only then do the numbers of a CSV file's rows say which came first.
        "preserve_insertion_order": not work.source.endswith(".parquet"),
    }


SYSTEMS = {"divisions": divisions, "duckdb": plain, "duckdb table": plain_table}


def measure(run: Callable[[], int]) -> Measured:
    began, cpu_began = time.perf_counter(), _cpu_s()
    customers = run()
    wall_s, used_s = time.perf_counter() - began, _cpu_s() - cpu_began
    return Measured(round(wall_s, 3), round(used_s, 3), round(_peak_gb(), 3), customers)


def _peak_gb() -> float:
    """Of this program only: what `getrusage` tells begins with the peak of the process that started it."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    (kib,) = re.findall(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    return int(kib) * 1024 / 1e9


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main(arguments: Sequence[str] | None = None) -> int:
    work = msgspec.json.decode((sys.argv[1:] if arguments is None else arguments)[0], type=Work)
    found = measure(SYSTEMS[work.system](work))
    print(json.dumps(msgspec.to_builtins(found)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
