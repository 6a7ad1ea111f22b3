"""Checks each row of a table: it is converted to its final form, or gets the reason why it cannot be used."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from divisions.schema import FeatureKind
from trainers.data.column_kinds import cast, read_label, to_numbers

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from divisions.pipeline.definition import Features


def check_rows(
    frame: pd.DataFrame, kinds: dict[str, FeatureKind], features: Features, label: str
) -> tuple[pd.DataFrame, list[str], list[str]]:
    """Casts every column and checks every row.

    Returns:
        the converted table; for each row the reason why it is bad, or an empty text; and the detail of the reason.
    """
    import pandas as pd

    reasons, details = [""] * len(frame), [""] * len(frame)

    def mark_bad(is_bad: NDArray[np.bool_], reason: str, detail: str = "") -> None:
        for index in np.flatnonzero(is_bad):
            if not reasons[index]:
                reasons[index], details[index] = reason, detail

    if frame.empty:
        return frame, reasons, details
    checked = frame.copy()
    entity, no_entity = cast(frame[features.entity], FeatureKind.CATEGORICAL)
    checked[features.entity] = entity
    mark_bad(no_entity | entity.isna().to_numpy(dtype=bool) | (entity == "").to_numpy(), f"null {features.entity}")
    times = read_times(frame[features.event_time])
    checked[features.event_time] = times
    mark_bad(times.isna().to_numpy(dtype=bool), f"unreadable {features.event_time}")
    labels = frame[label].map(read_label, na_action="ignore")
    mark_bad(frame[label].isna().to_numpy(dtype=bool), f"null {label}")
    mark_bad(labels.isna().to_numpy(dtype=bool), f"unknown {label}", "neither yes/no, true/false nor 1/0")
    checked[label] = pd.Series([int(value is True) for value in labels], index=frame.index, dtype=np.int8)
    for name, kind in kinds.items():
        checked[name], is_bad = cast(frame[name], kind)
        mark_bad(is_bad, "bad value", f"{name!r} is not {kind.value}")
    good = pd.Series([reason == "" for reason in reasons], index=frame.index)
    repeated = checked[good].duplicated([features.entity, features.event_time])
    mark_bad(repeated.reindex(frame.index, fill_value=False).to_numpy(dtype=bool), "duplicate event")
    return checked, reasons, details


def read_times(column: pd.Series) -> pd.Series:
    """Event times as ``datetime64[us, UTC]``. Accepts timestamps, ISO 8601 text (UTC without an offset) and seconds
    since the Unix epoch. Other values become null."""
    import pandas as pd

    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        return pd.to_datetime(column, utc=True).astype("datetime64[us, UTC]")
    if column.dtype == object:
        is_text = column.map(lambda value: isinstance(value, str)).to_numpy(dtype=bool)
        # Eight digits are a date in ISO 8601's basic form. As seconds, they would be a time in 1970.
        is_date = is_text & column.astype(str).str.fullmatch(r"\d{8}").to_numpy(dtype=bool)
        numbers = to_numbers(column.where(~is_date))
        text = pd.to_datetime(column.where(is_text & numbers.isna()), utc=True, errors="coerce", format="ISO8601")
        other = column.where(~is_text & numbers.isna())
        dates = pd.to_datetime(other, utc=True, errors="coerce")
        return text.fillna(dates).fillna(_from_seconds(numbers)).astype("datetime64[us, UTC]")
    return _from_seconds(to_numbers(column))


def _from_seconds(numbers: pd.Series) -> pd.Series:
    import pandas as pd

    # A number outside the years 1970 to 2200 is no time in seconds; it is probably in milliseconds.
    seconds = numbers.to_numpy(dtype=np.float64, na_value=np.nan)
    is_plausible = (seconds >= 0) & (seconds < 7_258_118_400)
    # pandas' own unit="s" is not used: it overflows on some tables that have only missing numbers.
    microseconds = np.round(np.where(is_plausible, seconds, 0) * 1e6).astype("datetime64[us]")
    microseconds[~is_plausible] = np.datetime64("NaT")
    return pd.Series(microseconds, index=numbers.index).dt.tz_localize("UTC")


def restore_whole_numbers(events: pd.DataFrame, kinds: dict[str, FeatureKind]) -> pd.DataFrame:
    """Turns whole numbers back into integers. Bad rows, which are removed by now, had turned the column to floats."""
    for name, kind in kinds.items():
        column = events[name]
        if kind is FeatureKind.NUMERIC and column.dtype == np.float64 and (column.abs() < 2**53).all():
            whole = column.astype(np.int64)
            if (whole == column).all():
                events[name] = whole
    return events
