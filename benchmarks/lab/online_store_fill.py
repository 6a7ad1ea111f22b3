"""One fill of the online store, in a process of its own, for `benchmarks.online_store`."""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path

import msgspec

from benchmarks.lab.online_store import ENDPOINT, Spent
from divisions.online_store import OnlineRow, online_store_path
from divisions.online_stores import open_store
from divisions.online_writer import OnlineStoreWriter
from divisions.schema import FeatureSchema
from divisions.settings import load_settings

NO_FEATURES = FeatureSchema(())


def fill_with_duckdb(offline: Path, home: Path) -> None:
    from trainers.data.online_features import fill_online_store

    del home  # The settings name it, or a server.
    fill_online_store(open_store(load_settings()), ENDPOINT, offline, NO_FEATURES)


def fill_with_pandas(offline: Path, home: Path) -> None:
    """As it was done before: every customer as an object of Python, and all of them as JSON before the first is
    written."""
    import pandas as pd

    frame = pd.read_parquet(offline)
    microseconds = frame["event_time"].astype("datetime64[us, UTC]").astype("int64").tolist()
    names = [str(name) for name in frame.columns[2:]]
    columns = [
        [None if missing else value for value, missing in zip(frame[name].tolist(), frame[name].isna(), strict=True)]
        for name in names
    ]
    rows = [
        OnlineRow(str(entity), time_us / 1e6, dict(zip(names, values, strict=True)))
        for entity, time_us, *values in zip(frame["customer_id"], microseconds, *columns, strict=True)
    ]
    OnlineStoreWriter(online_store_path(home), ENDPOINT).upsert(rows)


def main() -> None:
    method, offline, home = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    began_s = time.perf_counter()
    {"divisions": fill_with_duckdb, "redis": fill_with_duckdb, "pandas": fill_with_pandas}[method](offline, home)
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    spent = Spent(time.process_time(), time.perf_counter() - began_s, peak_kib / 1024)
    sys.stdout.write(msgspec.json.encode(spent).decode())


if __name__ == "__main__":
    main()
