"""Dirty raw events in every format, and how two ways of reading them are compared."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

from trainers.data.ingest import RawEvents

HEADER = "customer_id,event_time,plan,amount,note,churn"


def write_dirty(folder: Path, seed: int = 0, rows: int = 400, *, has_extras: bool = False) -> Path:
    """Events of the same customers in all formats: duplicates, contradictions, bad ids, times, labels and lines.

    With ``has_extras``, JSON lines have members that only some of them have.
    """
    rng = np.random.default_rng(seed)

    def event(index: int) -> dict[str, object]:
        customer = int(rng.integers(0, 120))
        day = int(rng.integers(1, 28))
        return {
            "customer_id": f"c-{customer}" if customer % 3 else customer,
            "event_time": f"2025-01-{day:02d}T0{index % 10}:00:00Z",
            "plan": ("gold", "pro", None, "N/A")[index % 4],
            "amount": round(float(rng.normal(50, 20)), 2) if index % 9 else None,
            "note": ("x", " y ", 'q"', "é,\n")[index % 4],
            "churn": ("yes", "no", "no")[customer % 3] if index % 11 else None,
        }

    folder.mkdir(parents=True, exist_ok=True)
    for part in range(3):
        frame = pd.DataFrame([event(index) for index in range(rows)]).astype({"customer_id": str})
        text = frame.to_csv(index=False)
        bad = ["c-1,2025-01-05", ",2025-01-05T00:00:00Z,gold,1,x,no", "c-2,soon,gold,1,x,no"]
        bad += [f"c-{part + 3},2025-01-05T00:00:00Z,gold,many,x,perhaps", "c-4,2025-01-06T00:00:00Z,a,1,x,yes"]
        bad += ["c-4,2025-01-06T00:00:00Z,a,1,x,no", "c-7,2025-01-07T00:00:00Z,a,1,x,yes", "c-7,2025-01-07,b,2,x,yes"]
        (folder / f"a{part}.csv").write_text(text + "\n".join(bad) + "\n")
    for part in range(2):
        lines = [json.dumps({k: v for k, v in event(i).items() if v is not None}) for i in range(rows)]
        extras = {"late": part, f"only{part}": "x"} if has_extras else {}
        lines += ['{"customer_id": ', "[1]", json.dumps({**event(1), **extras})]
        (folder / f"b{part}.jsonl").write_text("\n".join(lines))
    frame = pd.DataFrame([event(index) for index in range(3 * rows)]).astype({"customer_id": str})
    frame["event_time"] = pd.to_datetime(frame["event_time"])
    frame.to_parquet(folder / "c.parquet", row_group_size=100)
    return folder


def same_notes(events: RawEvents) -> set[str]:
    """The notes without the one on how the input was read."""
    return {note for note in events.notes if not note.startswith("read o")}


def assert_same(one: RawEvents, other: RawEvents) -> None:
    pd.testing.assert_frame_equal(one.frame, other.frame)
    pd.testing.assert_frame_equal(one.quarantine, other.quarantine)
    assert one.kinds == other.kinds
    assert list(one.kinds) == list(other.kinds)
    assert one.whys == other.whys
    assert (one.num_read, one.num_newest, one.reasons) == (other.num_read, other.num_newest, other.reasons)
    assert same_notes(one) == same_notes(other)
    if one.newest is not None and other.newest is not None:
        first, second = (
            pd.read_parquet(each.newest.path).sort_values("entity").reset_index(drop=True) for each in (one, other)
        )
        pd.testing.assert_frame_equal(first, second)
