"""Numbers in text."""

from __future__ import annotations

from divisions.pipeline.definition import DataFormat
from tests.trainers.data.nasty.case import Nasty, csv, each, json_lines, parquet, table

NUMERIC, TEXT = "numeric", "categorical"


def column(*values: object, count: int = 12, **columns: list[object]):
    return table(x=[values[i % len(values)] for i in range(count)], **columns)


def read_as(what: str, values: list[str], numbers: list[float], *notes: str, by: str = "", **options) -> Nasty:
    count = 12
    return Nasty(
        what,
        f"numbers, {', '.join(f'{number:g}' for number in numbers)}; told",
        csv(column(*values), **options),
        {"x": [numbers[i % len(numbers)] for i in range(count)]},
        {"x": NUMERIC},
        notes=notes or ("'x': numbers such as .* are read with",),
        by=by,
    )


def stays_text(what: str, values: list[str], says: str, comes: str, by: str = "") -> Nasty:
    return Nasty(what, comes, csv(column(*values)), kinds={"x": TEXT}, notes=(rf"'x' is text: .*{says}",), by=by)


CASES = [
    read_as("`29,85`", ["29,85", "7,5"], [29.85, 7.5], "a decimal comma; declare data_prep.format.decimal: ','"),
    read_as(
        "`1,200.50`", ["1,200.50", "3.25"], [1200.5, 3.25], "a decimal point; declare data_prep.format.decimal: '.'"
    ),
    read_as("`1.200,50`", ["1.200,50", "900"], [1200.5, 900], "a decimal comma"),
    read_as("`$20.50`", ["$20.50", "-$3", "$1,200"], [20.5, -3, 1200], "without their unit \\$"),
    read_as("`20.50 EUR`", ["20.50 EUR", "7 EUR"], [20.5, 7], "without their unit EUR"),
    read_as("`R$ 1.234,56`", ["R$ 1.234,56", "R$ 7"], [1234.56, 7], "a decimal comma, without their unit R\\$"),
    read_as("`12%`", ["12%", "7.5 %", "0"], [12, 7.5, 0], "without their unit %"),
    read_as("`1_000`", ["1_000", "2_500", "900"], [1000, 2500, 900], "'1_000' are read", by="Python"),
    read_as("`(12.50)` for a loss", ["(12.50)", "3.00"], [-12.5, 3], by="Excel, SAP"),
    read_as("`12.50-` for a loss", ["12.50-", "3.00"], [-12.5, 3], by="SAP"),
    read_as("`−5` with a minus of typography", ["\u22125", "3"], [-5, 3]),
    read_as(
        "`1 200,5` with a space that does not break",
        ["1\u00a0200,5", "1\u202f300,5"],
        [1200.5, 1300.5],
        by="Excel in France",
    ),
    read_as("`1'200.50`", ["1'200.50", "7.50"], [1200.5, 7.5], by="Excel in Switzerland"),
    read_as("`1,20,000.5`", ["1,20,000.5", "7"], [120000.5, 7], by="Excel in India"),
    read_as("`'123`, marked as text", ["'123", "'7"], [123, 7], by="Excel"),
    Nasty("`1e3`", "1000", csv(column("1e3", "2E+2")), {"x": [1000.0, 200.0] * 6}, {"x": NUMERIC}),
    Nasty(
        "`1,200` among small numbers, with many below 1,000",
        "1200: a column of the same file shows a decimal point",
        csv(column("1,200", "900", y=["3.25", "1,000.5"] * 6)),
        {"x": [1200.0, 900.0] * 6, "y": [3.25, 1000.5] * 6},
        {"x": NUMERIC, "y": NUMERIC},
        notes=("columns 'x', 'y': numbers such as '1,200' are read with a decimal point",),
    ),
    Nasty(
        "semicolons, decimal commas, and `1.200` for 1200",
        "right without a declaration; told",
        csv(column("1.200", "900", y=["29,85", "7,1"] * 6), sep=";"),
        {"x": [1200.0, 900.0] * 6, "y": [29.85, 7.1] * 6},
        {"x": NUMERIC, "y": NUMERIC},
        notes=("columns 'y', 'x': numbers such as '29,85' are read with a decimal comma",),
        by="Excel in Europe",
    ),
    Nasty(
        "`1.200` in a column with `0.123`, beside `29,85`",
        "each by its own column",
        csv(column("1.200", "0.123", y=["29,85", "7,1"] * 6)),
        {"x": [1.2, 0.123] * 6, "y": [29.85, 7.1] * 6},
        {"x": NUMERIC, "y": NUMERIC},
    ),
    Nasty(
        "`1.200` and `900` where fields end with semicolons, and nothing else",
        "numbers, 1.2 and 900, with a note: `.` may separate thousands",
        csv(column("1.200", "900"), sep=";"),
        {"x": [1.2, 900.0] * 6},
        {"x": NUMERIC},
        notes=(
            "'1.200' are read with a decimal point, but fields end with ';'.*declare data_prep.format.decimal: ','",
        ),
        by="Excel in Europe",
    ),
    Nasty(
        'the same with `decimal: ","`',
        "numbers, 1200 and 900",
        csv(column("1.200", "900"), sep=";"),
        {"x": [1200.0, 900.0] * 6},
        {"x": NUMERIC},
        format=DataFormat(decimal=","),
    ),
    stays_text(
        "only `1,200` and `1,500`",
        ["1,200", "1,500"],
        "'1,200' are numbers, but the comma .* declare data_prep.format.decimal",
        "text, with a note: 1200 and 1.2 are both possible",
    ),
    stays_text(
        "`29,85` and `29.85` in one column",
        ["29,85", "29.85"],
        "some have a decimal comma and others a decimal point",
        "text, with a note",
    ),
    stays_text(
        "`$20` and `20 EUR` in one column",
        ["$20", "20 EUR"],
        r"different units \(\$, EUR\)",
        "text, with a note: units differ",
    ),
    stays_text(
        "`12%` and `0.12` in one column",
        ["12%", "0.12"],
        r"different units \(%, none\)",
        "text, with a note: units differ",
    ),
    stays_text(
        "a foreign word, `k.A.`, in a quarter of the numbers",
        ["1.5", "2.5", "3.5", "k.A."],
        r"9 of its 12 values are numbers.*'k\.A\.' \(3\); .*data_prep\.format\.null",
        "text, with a note that names the word and the key",
    ),
    Nasty(
        "the same with `null: [k.A.]`",
        "numbers, and missing values",
        csv(column("1.5", "2.5", "3.5", "k.A.")),
        {"x": [1.5, 2.5, 3.5, None] * 3},
        {"x": NUMERIC},
        format=DataFormat(null=("k.A.",)),
    ),
    *(
        Nasty(
            f"`{word}` in a quarter of the numbers",
            "missing numbers; told with their count",
            csv(column("1.5", "2.5", "3.5", word)),
            {"x": [1.5, 2.5, 3.5, None] * 3},
            {"x": NUMERIC},
            notes=("'x': 3 of 12 values are not numeric and count as missing",),
            by=by,
        )
        for word, by in (
            ("?", "UCI"),
            ("None", "Python"),
            ("-", ""),
            ("unknown", ""),
            (".", "SAS"),
            ("(null)", "Oracle"),
            ("#DIV/0!", "Excel"),
        )
    ),
    Nasty(
        '`1,200` and the declared marks `decimal: ","`',
        "1.2",
        csv(column("1,200", "7")),
        {"x": [1.2, 7.0] * 6},
        {"x": NUMERIC},
        format=DataFormat(decimal=","),
    ),
    Nasty(
        '`1,200` and the declared marks `decimal: "."`, `thousands: ","`',
        "1200",
        csv(column("1,200", "7")),
        {"x": [1200.0, 7.0] * 6},
        {"x": NUMERIC},
        format=DataFormat(decimal=".", thousands=","),
    ),
    Nasty(
        '`29.85` where `decimal: ","` is declared',
        "text, with a note",
        csv(column("29.85", "7.1")),
        kinds={"x": TEXT},
        notes=("'x' is text: values such as '29.85' .* are no numbers with the declared marks",),
        format=DataFormat(decimal=","),
    ),
    Nasty(
        "`29,85` as text in Parquet",
        "text, with a note",
        parquet(column("29,85", "7,1")),
        kinds={"x": TEXT},
        notes=("'x' is text in .*a.parquet, though .* such as '7,1' are numbers: declare it under features.numeric",),
    ),
    Nasty(
        "the same, declared under `features.numeric`, with JSON beside it",
        "29.85",
        each(
            parquet(column("29,85", "7,1")),
            json_lines(column("29,85", "7,1").assign(customer_id=[f"d-{i}" for i in range(12)])),
        ),
        {"x": [29.85, 7.1] * 12},
        {"x": NUMERIC},
        features={"numeric": ("x",)},
    ),
    Nasty(
        "numbers as text in Parquet, one of them blank",
        "text, with a note",
        parquet(column("29.85", "1889.5", " ")),
        kinds={"x": TEXT},
        notes=("'x' is text in .*, though its values such as '29.85' are numbers",),
        by="IBM's Telco data in pandas",
    ),
    Nasty(
        "a column with two numbers by Parquet and `7,1` by CSV",
        "the same numbers; told",
        each(parquet(column(1.5, 2.5, count=2)), csv(column("7,1", "1.200,5", count=4).iloc[2:])),
        {"x": [1.5, 2.5, 7.1, 1200.5]},
        {"x": NUMERIC},
        notes=("numbers such as '1.200,5' are read with a decimal comma",),
    ),
]
