"""Writes half a year of a small shop as raw events, from which examples/events.yaml makes features and a churn label.

The shop is made up: customers visit and buy at their own pace, on a plan that some of them change, and some of them
lose interest. Late events (a day's file holds some of the day before) and events that were delivered twice are part of
it, as in real logs.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd

NUM_CUSTOMERS, NUM_DAYS = 1_500, 180
START = pd.Timestamp("2025-01-01", tz="UTC")


def shop(seed: int = 0) -> pd.DataFrame:
    """All events, in the order in which they arrived."""
    rng = np.random.default_rng(seed)
    frames = []
    for number in range(NUM_CUSTOMERS):
        # Whoever loses interest comes ever less often, and does not come back.
        leaves_after = rng.uniform(0, NUM_DAYS) if rng.random() < 0.5 else NUM_DAYS
        days = np.sort(rng.uniform(0, NUM_DAYS, rng.poisson(rng.uniform(30, 120))))
        days = days[rng.random(len(days)) < np.where(days < leaves_after, 1.0, 0.05)]
        event = rng.choice(["view", "cart", "purchase"], len(days), p=[0.5, 0.2, 0.3])
        frames.append(
            pd.DataFrame(
                {
                    "customer_id": f"c-{number}",
                    "happened": START + pd.to_timedelta((days * 86_400).astype(int), unit="s"),
                    "event": event,
                    "amount": np.where(event == "purchase", np.round(rng.lognormal(3, 1, len(days)), 2), np.nan),
                    "channel": rng.choice(["web", "app"], len(days), p=[0.7, 0.3]),
                    "plan": np.where(rng.random(len(days)) < 0.1, rng.choice(["basic", "plus"], len(days)), None),
                }
            )
        )
    events = pd.concat(frames)
    arrived = events["happened"] + pd.to_timedelta(rng.exponential(6, len(events)), unit="h")
    twice = rng.random(len(events)) < 0.01
    return (
        pd.concat([events, events[twice]]).assign(arrived=pd.concat([arrived, arrived[twice]])).sort_values("arrived")
    )


def write(folder: Path) -> int:
    """Writes a file for each day of arrival; returns the number of rows."""
    events = shop()
    for day, rows in events.groupby(events["arrived"].dt.date):
        partition = folder / f"day={day}"
        partition.mkdir(parents=True, exist_ok=True)
        rows.drop(columns="arrived").to_parquet(partition / "events.parquet", index=False)
    return len(events)


if __name__ == "__main__":
    target = Path(sys.argv[1] if len(sys.argv) > 1 else "data/shop")
    print(f"{write(target):,} events of {NUM_CUSTOMERS:,} customers are in {target}")
