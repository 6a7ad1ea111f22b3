"""Rows of customers from data frames, for tests that need no engine."""

import numpy as np
import pandas as pd

from trainers.data.customer_rows import CustomerRows, Flags, Numbers, Texts
from trainers.data.ingest import RawEvents
from trainers.data.quarantine import Quarantine

ROLES = ("customer_id", "event_time", "churn")


def column_of(values):
    """Values of one kind, None or NaN where they are missing, as a column."""
    values = [None if isinstance(value, float | type(None)) and pd.isna(value) else value for value in values]
    if any(isinstance(value, str) for value in values):
        codes, texts = pd.factorize(pd.Series(values, dtype=object))
        return Texts(codes.astype(np.int32), tuple(texts))
    if any(isinstance(value, bool | np.bool_) for value in values):
        return Flags(np.array([-1 if value is None else value for value in values], np.int8))
    return Numbers(np.array([np.nan if value is None else value for value in values], np.float64))


def columns_of(frame):
    return {name: column_of(frame[name].tolist()) for name in frame.columns if name not in ROLES}


def rows_of(frame):
    names = frame.get("customer_id", [f"c-{i}" for i in range(len(frame))])
    times = pd.Series(frame.get("event_time", pd.Timestamp("2025-01-14")), index=frame.index)
    labels = pd.Series(frame.get("churn", 0), index=frame.index)
    return CustomerRows(
        tuple(names),
        pd.to_datetime(times, utc=True).dt.tz_localize(None).to_numpy().astype("datetime64[us]"),
        labels.to_numpy().astype(np.int8),
        columns_of(frame),
    )


def events_of(frame, kinds):
    return RawEvents("test://events", "", rows_of(frame), kinds, Quarantine(), len(frame))
