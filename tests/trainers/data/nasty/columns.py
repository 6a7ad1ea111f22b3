"""Columns that are no features, names, and categories."""

from __future__ import annotations

import pandas as pd

from tests.trainers.data.nasty.case import Nasty, csv, each, json_lines, parquet, table

NUMERIC, TEXT = "numeric", "categorical"
TOLD = "is no feature: it numbers the rows; declare it under features.numeric to learn it"


def numbered(count: int = 60, first: int = 1) -> pd.DataFrame:
    return table(count, number=range(first, first + count))


def left_out(what: str, write, column: str, by: str = "", comes: str = "left out, with a note") -> Nasty:
    return Nasty(what, comes, write, kinds={column: None, "calls": NUMERIC}, notes=(f"{column!r} {TOLD}",), by=by)


def filtered() -> pd.DataFrame:
    """Rows of a larger frame, so that its index has gaps and a file holds it."""
    return table(12).iloc[[0, 2, 3, 5, 7, 8, 9, 11]]


def blanks() -> pd.DataFrame:
    names = [f"c-{i}{' ' * (i % 3 == 0)}" for i in range(12)]
    return table(customer_id=names, plan=["gold", " pro"] * 6)


def named_index() -> pd.DataFrame:
    frame = table(12)
    frame.index = pd.Index([i * i % 7 for i in range(12)], name="visits")
    return frame


CASES = [
    left_out("`__index_level_0__`, the index of a filtered frame", parquet(filtered()), "__index_level_0__", "pandas"),
    left_out(
        "`Unnamed: 0`, an index that was read and written again",
        csv(filtered().rename_axis("Unnamed: 0"), index=True),
        "Unnamed: 0",
        "pandas",
    ),
    left_out("`index` of `reset_index()`", csv(filtered().reset_index()), "index", "pandas"),
    left_out(
        "`level_0` of a second `reset_index()`",
        parquet(filtered().rename_axis("level_0").reset_index()),
        "level_0",
        "pandas",
    ),
    left_out("`X` or `...1`, row names", csv(filtered().reset_index(names="...1")), "...1", "R"),
    left_out(
        "`RowNumber`, whatever the order of the rows",
        csv(table(12, RowNumber=[5, 3, 8, 1, 9, 12, 2, 4, 7, 6, 10, 11])),
        "RowNumber",
        "Kaggle's bank churn",
    ),
    left_out("a column of any name that counts the rows, from 1", csv(numbered()), "number"),
    left_out("a column of any name that counts the rows, from 0, in Parquet", parquet(numbered(first=0)), "number"),
    left_out("a column of any name that counts the rows, in JSON", json_lines(numbered()), "number"),
    left_out(
        "`monotonically_increasing_id()` over two parts",
        each(parquet(numbered(first=0).iloc[:30]), parquet(numbered(first=2**33 - 30).iloc[30:], "b.parquet")),
        "number",
        "Spark",
    ),
    Nasty(
        "row numbers that `features.numeric` declares",
        "a feature",
        csv(numbered()),
        kinds={"number": NUMERIC},
        features={"numeric": ("number",)},
    ),
    Nasty(
        "an index with a name, `visits`",
        "a feature: it is data",
        parquet(named_index()),
        {"visits": [i * i % 7 for i in range(12)]},
        {"visits": NUMERIC},
        by="pandas",
    ),
    Nasty(
        "a column that counts, but has a gap",
        "a feature",
        csv(table(60, number=[*range(59), 60])),
        kinds={"number": NUMERIC},
    ),
    Nasty(
        "months 1 to 12 in their order",
        "a feature: too few rows to tell",
        csv(table(12, month=range(1, 13))),
        kinds={"month": NUMERIC},
    ),
    Nasty(
        "`index` with repeated values, such as a price index",
        "a feature",
        csv(table(12, index=[100, 101, 101, 102, 103, 103] * 2)),
        kinds={"index": NUMERIC},
    ),
    *(
        Nasty(
            f"customers and plans with blanks at their ends, `c-1 `, as {name}",
            "trimmed; told with counts",
            write(blanks()),
            {"plan": ["gold", "pro"] * 6},
            {"plan": TEXT},
            notes=(r"in the columns 'customer_id' \(4\), 'plan' \(6\): such as 'c-0 '",),
        )
        for name, write in (("CSV", csv), ("JSON", json_lines), ("Parquet", parquet))
    ),
]
