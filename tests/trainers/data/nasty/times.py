"""Event times."""

from __future__ import annotations

import datetime as dt

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from divisions.pipeline.definition import DataFormat
from tests.trainers.data.nasty.case import Nasty, csv, each, json_lines, parquet, table


def at(text: str) -> pd.Timestamp:
    return pd.Timestamp(text, tz="UTC")


def times(*values: object, count: int = 6) -> pd.DataFrame:
    return table(event_time=[values[i % len(values)] for i in range(count)])


def in_all_formats(values: list[object]):
    """The same column as CSV, JSON lines and Parquet, each with customers of its own."""
    frames = [table(event_time=values) for _ in range(3)]
    for index, frame in enumerate(frames):
        frame["customer_id"] = [f"c-{index}{i}" for i in range(len(frame))]
    return each(csv(frames[0]), json_lines(frames[1]), parquet(frames[2]))


def read_alike(what: str, value: object, moment: str, by: str = "") -> Nasty:
    return Nasty(
        f"{what}, as CSV, JSON and Parquet",
        f"{moment} in each",
        in_all_formats([value] * 6),
        {"event_time": [at(moment)] * 18},
        by=by,
    )


def refused(what: str, value: object, says: str, comes: str = "", by: str = "") -> Nasty:
    return Nasty(
        f"{what}, as CSV, JSON and Parquet",
        comes or f"refused: {says}",
        in_all_formats([value] * 6),
        error=("18 x unreadable event_time", "first bad row: .*record", says),
        by=by,
    )


def spelled(text: str, moment: str, by: str) -> Nasty:
    return Nasty(f"`{text}`", moment, csv(times(text)), {"event_time": [at(moment)] * 6}, by=by)


def int96(folder):
    frame = table()
    frame["event_time"] = pd.to_datetime(frame["event_time"])
    pq.write_table(pa.Table.from_pandas(frame), folder / "a.parquet", use_deprecated_int96_timestamps=True)


CASES = [
    read_alike("`20250114`", 20250114, "2025-01-14"),
    read_alike("`20250114.0`, a column with a gap in pandas", 20250114.0, "2025-01-14", "pandas"),
    read_alike("`20250114020000`", 20250114020000, "2025-01-14 02:00", "mainframes"),
    read_alike("`202501140200`", 202501140200, "2025-01-14 02:00", "mainframes"),
    read_alike("seconds, `1736812800`", 1736812800, "2025-01-14"),
    read_alike("seconds with a fraction, `1736812800.5`", 1736812800.5, "2025-01-14 00:00:00.5"),
    read_alike("milliseconds, `1736812800000`", 1736812800000, "2025-01-14", "JavaScript"),
    read_alike("microseconds, `1736812800000000`", 1736812800000000, "2025-01-14", "BigQuery"),
    read_alike("nanoseconds, `1736812800000000000`", 1736812800000000000, "2025-01-14", "pandas"),
    read_alike('text of milliseconds, `"1736812800000"`', "1736812800000", "2025-01-14", "Kafka"),
    refused("a year, `2025`", 2025, "a year, not a time: .*event_time_format: %Y", "refused as a year, with the key"),
    refused("a month, `202501`", 202501, "a month, not a time: .*%Y%m", "refused as a month, with the key"),
    refused("`250114`", 250114, "a day of the form YYMMDD.*%y%m%d", "refused as YYMMDD, with the key", "mainframes"),
    refused("`25014`", 25014, "YYDDD, not a time: .*%y%j", "refused as YYDDD or a spreadsheet's day, with the key"),
    refused("`2025014`", 2025014, "YYYYDDD, not a time: .*%Y%j", "refused as YYYYDDD, with the key", "JD Edwards"),
    refused("`45671`", 45671, "a day number of a spreadsheet", "refused as a spreadsheet's day", "Excel"),
    refused("`45671.5`", 45671.5, "a day number of a spreadsheet", "refused as a spreadsheet's day", "Excel"),
    refused("ticks, `638723232000000000`", 638723232000000000, "ticks of .NET", "refused as ticks of .NET", ".NET"),
    Nasty(
        "declared `%y%j` for integers such as `25014`",
        "2025-01-14",
        parquet(times(25014)),
        {"event_time": [at("2025-01-14")] * 6},
        format=DataFormat(event_time_format="%y%j"),
    ),
    Nasty(
        "five spellings of a time in one JSON column",
        "the same time five times",
        json_lines(times(20250114, "2025-01-14", 1736812800, "1736812800000", "2025/1/14", count=5)),
        {"event_time": [at("2025-01-14")] * 5},
    ),
    Nasty(
        "one `9999-12-31` for an open end",
        "that row is quarantined as a future time, and does not lock its customer's row",
        parquet(
            times(*[dt.datetime(2025, 1, 14)] * 5, dt.datetime(9999, 12, 31)).astype({"event_time": "datetime64[us]"})
        ),
        {"event_time": [at("2025-01-14")] * 5},
        quarantined={"future event_time": 1},
        by="SQL Server",
    ),
    Nasty("a timestamp of 96 bits", "2025-01-14", int96, {"event_time": [at("2025-01-14")] * 6}, by="Impala, Spark"),
    spelled("2025-01-14 02:00:00 UTC", "2025-01-14 02:00", "BigQuery"),
    spelled("2025-01-14 02:00:00.000 -0800", "2025-01-14 10:00", "Snowflake"),
    spelled("14JAN2025:02:00:00", "2025-01-14 02:00", "SAS"),
    spelled("14-JAN-2025", "2025-01-14", "Oracle"),
    spelled("2025-01-14T02:00+01:00[Europe/Berlin]", "2025-01-14 01:00", "Java"),
    spelled("Tue Jan 14 02:00:00 UTC 2025", "2025-01-14 02:00", "Java"),
    spelled("2025-01-14 02:00:00 +0000 UTC", "2025-01-14 02:00", "Go"),
    spelled("14/Jan/2025:02:00:00 +0100", "2025-01-14 01:00", "web servers"),
    spelled(" 2025.01.14 ", "2025-01-14", "spreadsheets in Hungary and Japan"),
    Nasty(
        "`14-JAN-25`",
        "refused: day and year may be either way round",
        csv(times("14-JAN-25")),
        error=(
            "6 x unreadable event_time",
            "day and year may be either way round: declare data_prep.format.event_time_format",
        ),
        by="Oracle",
    ),
    Nasty(
        "`03/02/2025` and `14/01/2025` in one column",
        "day first, since 14 is no month; told",
        csv(times("03/02/2024", "14/01/2025")),
        {"event_time": [at("2024-02-03"), at("2025-01-14")] * 3},
        notes=("'03/02/2024' are read with the day first.*event_time_format, such as '%d/%m/%Y'",),
        by="Excel in Europe",
    ),
    Nasty(
        "`1/14/2025 2:30 PM`",
        "month first, since 14 is no month; told",
        csv(times("1/14/2025 2:30 PM")),
        {"event_time": [at("2025-01-14 14:30")] * 6},
        notes=("read with the month first",),
        by="Excel in America",
    ),
    Nasty(
        "only `03/02/2025`",
        "refused: day and month may be either way round",
        csv(times("03/02/2025")),
        error=(
            "6 x unreadable event_time",
            "day and month may be either way round: declare data_prep.format.event_time_format",
        ),
    ),
    Nasty(
        "`14/01/2025` and `01/14/2025` in one column",
        "refused: day and month may be either way round",
        csv(times("14/01/2025", "01/14/2025")),
        error=("6 x unreadable event_time", "day and month may be either way round"),
    ),
]
