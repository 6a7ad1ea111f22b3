"""DuckDB as the engine of ingestion: bounded memory, a folder to spill to, and no network of its own.

DuckDB reads only local files here. Objects of S3 reach it through `trainers.data.locations`, so the credentials, the
endpoint and the allow-list are the same for every format.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from trainers.data.working_folder import working_folder
from trainers.features.sql_text import text_literal

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

__all__ = [
    "DEFAULT_MEMORY_GB",
    "Engine",
    "Limits",
    "first_row",
    "in_parts",
    "limits_for",
    "open_engine",
    "text_literal",
]

_Column = TypeVar("_Column")

DEFAULT_MEMORY_GB = 1.0
"""For DuckDB alone. Larger inputs spill to disk. The reduced table and the libraries need about as much again."""
_GB_A_COLUMN = 0.0008
"""A scan of Parquet holds a page of each column at once, however few rows it gives. Pages have up to 1 MB."""
_SHARE_OF_MEMORY = 0.5
_PART = 100
"""DuckDB gives each aggregate with a FILTER a block with room for the inputs of all aggregates of the query, and counts
it towards no limit. For 3,000 columns at once, that were tens of gigabytes."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What ingestion may use. ``num_threads`` 0 means: one for each core. ``is_elastic``: nobody has said how much
    memory there is, so wide tables may take more."""

    num_threads: int = 0
    memory_gb: float = DEFAULT_MEMORY_GB
    is_elastic: bool = False

    def for_columns(self, count: int) -> float:
        """The memory for tables of so many columns, in GB.

        >>> Limits(is_elastic=True).for_columns(20), Limits(is_elastic=True).for_columns(3_000)
        (1.0, 2.4)
        """
        return max(self.memory_gb, round(count * _GB_A_COLUMN, 3)) if self.is_elastic else self.memory_gb


def limits_for(num_cpus: float, memory_gb: float | None) -> Limits:
    """The limits of a stage that was given these resources.

    >>> limits_for(1.0, 8.0)
    Limits(num_threads=1, memory_gb=4.0, is_elastic=False)
    >>> limits_for(0.5, None)
    Limits(num_threads=1, memory_gb=1.0, is_elastic=True)
    """
    num_threads = max(1, min(int(num_cpus), os.cpu_count() or 1))
    if memory_gb is None:
        return Limits(num_threads, is_elastic=True)
    return Limits(num_threads, memory_gb * _SHARE_OF_MEMORY)


@dataclass(frozen=True, slots=True)
class Engine:
    """A connection, and a folder that lives as long as it does."""

    connection: DuckDBPyConnection
    folder: Path
    limits: Limits = field(default_factory=Limits)

    def make_room(self, num_columns: int) -> None:
        """Sets the memory for tables of so many columns."""
        self.connection.execute(f"SET memory_limit = '{int(self.limits.for_columns(num_columns) * 1000)}MB'")


@contextmanager
def open_engine(limits: Limits) -> Iterator[Engine]:
    """Opens DuckDB with its own temporary folder; both are gone afterwards."""
    import duckdb

    with working_folder() as folder:
        options: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": f"{int(limits.memory_gb * 1000)}MB",
            "temp_directory": f"{folder}/spill",
            "autoinstall_known_extensions": False,
            # Rows carry their file and number, so their order need not be kept; that saves memory.
            "preserve_insertion_order": False,
            # Statistics of Parquet files do not count NaN. By them, DuckDB would drop tests for NaN as needless.
            "disabled_optimizers": "statistics_propagation",
        }
        if limits.num_threads:
            options["threads"] = limits.num_threads
        connection = duckdb.connect(config=options)
        try:
            connection.execute("SET TimeZone = 'UTC'")
            connection.execute("SET enable_progress_bar = false")  # DuckDB draws it on standard output
            yield Engine(connection, folder, limits)
        finally:
            connection.close()


def first_row(connection: DuckDBPyConnection, sql: str) -> tuple[Any, ...]:
    """The one row of a query. All of it is fetched: a result that is left open blocks the connection."""
    return tuple(connection.execute(sql).fetchall()[0])


def in_parts(columns: Sequence[_Column]) -> Iterator[Sequence[_Column]]:
    """The columns that one query may ask about, part by part.

    >>> [len(part) for part in in_parts(range(250))]
    [100, 100, 50]
    """
    for start in range(0, len(columns), _PART):
        yield columns[start : start + _PART]
