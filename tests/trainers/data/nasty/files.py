"""Files and folders."""

from __future__ import annotations

import gzip
import io
import os
import socket
import zipfile

import pandas as pd

from divisions.pipeline.definition import DataFormat
from tests.trainers.data.nasty.case import Nasty, csv, each, json_lines, parquet, table

NUMERIC, TEXT = "numeric", "categorical"
GOOD = table()
CALLS = {"calls": GOOD["calls"].tolist()}
TEXT_OF_GOOD = GOOD.to_csv(index=False)
ESCAPED = "customer_id,event_time,note,churn\n" + "".join(
    f'c-{i},2025-01-14,"say \\"hi\\", {i % 2}",{i % 2}\n' for i in range(6)
)


def raw(name: str, content: bytes):
    return csv(content, name)


def others(*writes):
    """A good file, and something beside it."""
    return each(csv(GOOD, "good.csv"), *writes)


def refused(what: str, comes: str, write, *error: str, by: str = "", **options) -> Nasty:
    return Nasty(what, f"refused: {comes}", write, error=error, by=by, **options)


def foreign(name: str, magic: bytes, kind: str, remedy: str, by: str = "") -> Nasty:
    return refused(
        f"{kind} named `{name}`",
        "named as what it is",
        raw(name, magic + b"\0" * 100),
        rf"{name} is damaged.*it is {kind}",
        remedy,
        by=by,
    )


def left_beside(what: str, comes: str, make, note: str) -> Nasty:
    return Nasty(what, comes, others(make), CALLS, notes=(note,))


def workbook(folder):
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr("xl/workbook.xml", "<workbook/>")
    (folder / "a.csv").write_bytes(target.getvalue())


def a_socket(folder):
    place = os.getcwd()
    os.chdir(folder)  # the path of a socket has at most 107 bytes
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.bind("s.csv")
    finally:
        os.chdir(place)


def loop(folder):
    (folder / "sub").mkdir()
    (folder / "sub" / "up").symlink_to(folder)


def outside(folder):
    away = folder.parent / f"{folder.name}-away"
    away.mkdir()
    GOOD.to_csv(away / "part.csv", index=False)
    (folder / "linked").symlink_to(away)


def twice(folder):
    (folder / "a-link.csv").symlink_to(folder / "good.csv")


def in_folders(*values: str, column: str, suffix: str = "csv", name: str = ""):
    """The customers, one in a folder for each value, without that column in the files."""

    def write(folder):
        for index, value in enumerate(values):
            part = folder / f"{name or column}={value}"
            part.mkdir()
            rows = table(len(values)).iloc[[index]].drop(columns=column, errors="ignore")
            rows.to_csv(part / "a.csv", index=False) if suffix == "csv" else rows.to_parquet(part / "a.parquet")

    return write


CASES = [
    Nasty(
        "the mark of UTF-16 at the beginning",
        "read",
        raw("a.csv", TEXT_OF_GOOD.encode("utf-16")),
        CALLS,
        by='Excel, "Unicode text"',
    ),
    refused(
        "UTF-16 without a mark",
        "NUL characters, with the key",
        raw("a.csv", TEXT_OF_GOOD.encode("utf-16-le")),
        "a.csv .*holds NUL characters",
        "data_prep.format.encoding, such as utf-16-le",
        by="SQL Server",
    ),
    Nasty(
        "UTF-16 without a mark, declared",
        "read",
        raw("a.csv", TEXT_OF_GOOD.encode("utf-16-le")),
        CALLS,
        format=DataFormat(encoding="utf-16-le"),
    ),
    Nasty(
        "gzip in two members",
        "both are read",
        raw("a.csv.gz", gzip.compress(TEXT_OF_GOOD[:60].encode()) + gzip.compress(TEXT_OF_GOOD[60:].encode())),
        CALLS,
        by="rotated logs",
    ),
    Nasty("gzip under `.csv`", "read", raw("a.csv", gzip.compress(TEXT_OF_GOOD.encode())), CALLS),
    Nasty("`.CSV.GZ` in capitals", "read", raw("A.CSV.GZ", gzip.compress(TEXT_OF_GOOD.encode())), CALLS),
    refused(
        "gzip that was cut off",
        "named as damaged",
        raw("a.csv.gz", gzip.compress(TEXT_OF_GOOD.encode())[:-20]),
        "a.csv.gz is damaged",
        "write the file again",
    ),
    Nasty("Parquet under `.parquet.gzip`", "read", parquet(GOOD, "a.parquet.gzip"), CALLS, by="pandas' own example"),
    refused(
        "Parquet compressed as a whole",
        "unpack it",
        raw("a.parquet.gz", gzip.compress(b"PAR1")),
        "a.parquet.gz .*compressed as a whole",
        "unpack it",
    ),
    Nasty("JSON lines under `.csv`", "read as what they are", json_lines(GOOD, "a.csv"), CALLS),
    Nasty("tabs under `.tsv`", "read", csv(GOOD, "a.tsv", sep="\t"), CALLS, by="Hive"),
    Nasty(
        "a first line `sep=;`",
        "obeyed, and no row",
        raw("a.csv", b"sep=;\n" + TEXT_OF_GOOD.replace(",", ";").encode()),
        CALLS,
        by="Excel",
    ),
    Nasty(
        "quotes escaped by backslashes",
        "read so; told",
        raw("a.csv", ESCAPED.encode()),
        {"note": [f'say "hi", {i % 2}' for i in range(6)]},
        notes=("a.csv escapes quotes by backslashes",),
        by="Spark, MySQL",
    ),
    Nasty("fields parted by `^A`", "read; told", csv(GOOD, sep="\x01"), CALLS, notes=(r"a.csv.*'\\x01'",), by="Hive"),
    Nasty(
        "lines that end with CR alone",
        "read",
        raw("a.csv", TEXT_OF_GOOD.replace("\n", "\r").encode()),
        CALLS,
        by="old Macs",
    ),
    refused(
        "a new Excel workbook named `a.csv`",
        "named as what it is",
        workbook,
        "a.csv is damaged.*it is an Excel workbook",
        "save the sheet as CSV",
        by="Excel",
    ),
    foreign("a.csv", b"\xd0\xcf\x11\xe0", "an Excel workbook", "save the sheet as CSV", "Excel 97"),
    foreign("a.csv", b"ORC\x08", "an ORC file", "export its rows", "Hive"),
    foreign("a.json", b"Obj\x01", "an Avro file", "export its rows", "Kafka"),
    foreign("a.parquet", b"ARROW1\0", "an Arrow file", "export its rows", "R"),
    foreign("a.csv", b"SQLite format 3\0", "an SQLite database", "export its rows"),
    foreign("a.csv", b"\x80\x04\x95", "a pickle of Python", "export its rows", "pandas"),
    refused(
        "a Delta Lake table",
        "its files hold deleted rows, too",
        each(parquet(GOOD), raw("_delta_log/00.json", b"{}")),
        "is a Delta Lake table",
        "export the table's current rows",
        by="Databricks",
    ),
    refused(
        "an Iceberg table",
        "its files hold deleted rows, too",
        each(parquet(GOOD, "data/a.parquet"), raw("metadata/v1.metadata.json", b"{}")),
        "is an Iceberg table",
        "export the table's current rows",
    ),
    left_beside(
        "an empty part of each format",
        "left out, with a note",
        each(raw("a.parquet", b""), raw("b.csv", b""), raw("c.jsonl", b"\n")),
        r"3 files are empty: .*a\.parquet, .*b\.csv, .*c\.jsonl",
    ),
    Nasty(
        "`_SUCCESS`, `.part.crc`, `_temporary/`",
        "left out",
        others(raw("_SUCCESS", b""), raw(".good.csv.crc", b"x"), raw("_temporary/0/part.csv", b"x")),
        CALLS,
        by="Spark",
    ),
    left_beside(
        "files of other extensions",
        "left out, with a note",
        each(raw("readme.txt", b"x"), raw("a.csv.tmp", b"x")),
        "skipped 2 files of other formats: .*a.csv.tmp, .*readme.txt",
    ),
    left_beside(
        "a link to the folder above itself",
        "left out, with a note",
        loop,
        "sub/up is a link to what is read anyway: it is left out",
    ),
    left_beside(
        "a link that leads nowhere",
        "left out, with a note",
        lambda folder: (folder / "gone.csv").symlink_to("nowhere"),
        "gone.csv is a link that leads nowhere",
    ),
    left_beside(
        "a link to a file of the same folder",
        "read once, with a note",
        twice,
        "a-link.csv is a link to what is read anyway",
    ),
    Nasty("a link to a folder elsewhere", "followed", outside, CALLS),
    left_beside(
        "a named pipe",
        "left out, with a note; the run does not wait for it",
        lambda folder: os.mkfifo(folder / "p.csv"),
        "p.csv is a named pipe",
    ),
    left_beside("a socket", "left out, with a note", a_socket, "s.csv is a socket"),
    Nasty(
        "entities in the names of folders",
        "read",
        in_folders("c-0", "c-1", "c%2D2", column="customer_id"),
        {"calls": [0, 2, 4], "customer_id": ["c-0", "c-1", "c-2"]},
        by="Hive",
    ),
    Nasty(
        "event times in the names of folders, escaped",
        "read",
        in_folders("2025-01-14 02%3A00%3A00", "20250114", column="event_time", suffix="parquet"),
        {"event_time": [pd.Timestamp("2025-01-14 02:00", tz="UTC"), pd.Timestamp("2025-01-14", tz="UTC")]},
        by="Spark",
    ),
    Nasty(
        "labels in the names of folders",
        "read",
        in_folders("no", "Yes", "false", "1", column="churn"),
        {"churn": [0, 1, 0, 1]},
    ),
    Nasty(
        "`__HIVE_DEFAULT_PARTITION__`",
        "a missing value",
        in_folders("eu", "__HIVE_DEFAULT_PARTITION__", column="region"),
        {"region": ["eu", None]},
        by="Hive, Spark",
    ),
    Nasty(
        "a folder's name in Unicode and with `%20`",
        "read",
        in_folders("K%C3%B6ln", "São Paulo", column="Stadt%20Teil"),
        {"Stadt Teil": ["Köln", "São Paulo"]},
    ),
    Nasty(
        "numbers in folders' names, with a decimal comma",
        "numbers; told",
        in_folders("1,5", "2,5", column="rate"),
        {"rate": [1.5, 2.5]},
        {"rate": NUMERIC},
    ),
    Nasty(
        "a column in the file and in the folder's name",
        "the file's, with a note",
        in_folders("7", "8", column="none", name="calls"),
        {"calls": [0, 2]},
        notes=("column 'calls' stands in the file, so calls= in folder names is not used",),
    ),
    refused(
        "a web page named `a.csv`",
        "named as what it is",
        raw("a.csv", b"<!DOCTYPE html><html>"),
        "it is a web page or XML",
        "download the data itself",
    ),
    refused(
        "`DataFrame.to_json()` as it is",
        "no rows of their own",
        raw("a.json", GOOD.to_json().encode()),
        "1 of 1 rows .* cannot be used",
        "first bad row: .*a.json, record 1",
        by="pandas",
    ),
    refused(
        'rows within `{"data": [...]}`',
        "the entity's column is missing",
        raw("a.json", b'{"data": [{"customer_id": 1}]}'),
        "lacks the entity column 'customer_id'; it has data",
        "add the column",
        by="web services",
    ),
    Nasty(
        "one member twice in an object of JSON",
        "that row is quarantined",
        json_lines(
            [
                *GOOD.to_json(orient="records", lines=True).splitlines(),
                '{"customer_id": "c-9", "event_time": "2025-01-14", "churn": 1, "calls": 1, "calls": 2}',
            ]
        ),
        CALLS,
        quarantined={"unparsable line": 1},
    ),
    Nasty(
        "a total in the last line",
        "quarantined",
        raw("a.csv", TEXT_OF_GOOD.encode() + b"Total,6\n"),
        CALLS,
        quarantined={"unparsable line": 1},
        by="Excel",
    ),
    refused(
        "a title above the header",
        "the first bad row is shown",
        raw("a.csv", b"Report\n" + TEXT_OF_GOOD.encode()),
        r"7 x unparsable line \(4 fields, expected 1\)",
        "first bad row: .*a.csv, record 2",
    ),
]
