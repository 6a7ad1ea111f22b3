"""The engine's reader of plain CSV files comes to the same rows as the reader of all others, or leaves them to it."""

import csv
import datetime as dt
import io

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from divisions.errors import InputError
from divisions.pipeline.definition import Features
from divisions.settings import S3Settings
from trainers.data import plain_csv, staging
from trainers.data.ingest import read_events

START = dt.datetime(2025, 1, 14)
HEADER = ["customer_id", "event_time", "churn", "a", "b_1", "c"]


def read(path, **features):
    chosen = Features(**features)
    events = read_events(str(path), s3=S3Settings(), allow_buckets=(), features=chosen, label="churn")
    quarantine = events.quarantine.to_dict("records")
    rows = events.frame.astype(object).where(events.frame.notna(), None).to_dict("records")
    return rows, quarantine, events.kinds, events.num_read, events.notes


def both(path, monkeypatch, **features):
    """What the two readers make of a file, and whether the first one took it."""
    taken = []

    def noted(*arguments):
        taken.append(plain_csv.load_plain_files(*arguments))
        return taken[-1]

    found = []
    for load in (noted, lambda *_: {}):
        monkeypatch.setattr(staging, "load_plain_files", load)
        try:
            found.append(read(path, **features))
        except InputError as error:
            found.append(str(error).partition(": {")[0])
    return *found, any(taken)


def record(number, *values):
    at = START + dt.timedelta(seconds=number)
    return [f"c-{number}", f"{at:%Y-%m-%d %H:%M:%S}", "yes" if number % 2 else "no", *values]


_numbers = st.one_of(st.integers(-5, 10**20).map(str), st.floats(width=32).map(str), st.sampled_from(["1.200", "0408"]))
_texts = st.text(st.sampled_from("ab0 .,;\"'_\t#éN-\\|"), max_size=4)
_words = st.sampled_from(["", "NA", "nan", "NAN", "?", "1_000", "29,85", "inf", " 7 ", "1e400", "true", "12%", "\\N"])
_fields = st.one_of(_numbers, _texts, _words)


@settings(max_examples=60, deadline=None)
@given(
    columns=st.lists(st.one_of(st.lists(_numbers, min_size=9, max_size=9), st.lists(_fields, min_size=9, max_size=9)),
                     min_size=3, max_size=3),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    delimiter=st.sampled_from(",;\t|"),
    newline=st.sampled_from(["\n", "\r\n"]),
    damage=st.sampled_from([lambda text: text] * 4 + [
        lambda text: text + "\n",
        lambda text: text.rstrip("\r\n"),
        lambda text: text.replace("c-3", "c-3,"),
        lambda text: text.replace("c-4", ' "c-4"'),
        lambda text: text.replace("yes", "yes\n", 1),
        lambda text: text.replace("c-5", 'c"5'),
        lambda text: text.replace("c-6", "c-6\0"),
        lambda text: text.replace("\n", "\n\n", 3),
        lambda text: text.replace("c-7", "NA"),
    ]),
    tail=st.sampled_from([b"", b"\xff,2025-01-14,yes,1,1,1\n", b"c-8,2025-01-14 00:00:08,yes,1,1,1\n"]),
)  # fmt: skip
def test_both_readers_see_the_same_rows(tmp_path_factory, columns, quoting, delimiter, newline, damage, tail):
    sink = io.StringIO()
    writer = csv.writer(sink, quoting=quoting, delimiter=delimiter, lineterminator=newline)
    writer.writerow(HEADER)
    for number, values in enumerate(zip(*columns, strict=True)):
        writer.writerow(record(number, *values))
    path = tmp_path_factory.mktemp("input") / "events.csv"
    path.write_bytes(damage(sink.getvalue()).encode() + tail)

    with pytest.MonkeyPatch.context() as patch:
        by_engine, by_us, _ = both(path, patch)

    assert by_engine == by_us


def write(path, rows, header=HEADER):
    path.write_text("\n".join(",".join(line) for line in [header, *rows]) + "\n")
    return path


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_files_of_either_line_end_are_plain(tmp_path, monkeypatch, newline):
    path = write(tmp_path / "events.csv", [record(number, "1.5", "x", '"a, b"') for number in range(9)])
    path.write_bytes(path.read_bytes().replace(b"\n", newline.encode()))
    by_engine, by_us, is_taken = both(path, monkeypatch)
    assert is_taken
    assert by_engine == by_us
    assert len(by_engine[0]) == 9


def test_rows_of_a_large_file_keep_their_numbers(tmp_path, monkeypatch):
    # More than the engine's threads read at once; the last row's label is unknown.
    rows = [record(number, str(number), "x", "y" * 40) for number in range(200_000)]
    rows[-1][2] = "perhaps"
    by_engine, by_us, is_taken = both(write(tmp_path / "events.csv", rows), monkeypatch)
    assert is_taken
    assert by_engine == by_us
    assert by_engine[1][-1]["row"] == 200_001


@pytest.mark.parametrize("value", ["?", "NAN", "1_000", "x"])
def test_a_late_value_that_is_no_number_is_read_as_text(tmp_path, monkeypatch, value):
    rows = [record(number, f"{number}.5", "x", "y") for number in range(3_500)]
    rows[3_000][3] = value
    by_engine, by_us, is_taken = both(write(tmp_path / "events.csv", rows), monkeypatch)
    assert is_taken
    assert by_engine == by_us
    assert value == "1_000" or by_engine[0][3_000]["a"] is None


def test_numbers_that_are_declared_categories_keep_their_spelling(tmp_path):
    path = write(tmp_path / "events.csv", [record(number, "0408", "1.50", "y") for number in range(9)])
    rows, *_ = read(path, categorical=("a", "b_1"))
    assert (rows[0]["a"], rows[0]["b_1"]) == ("0408", "1.50")


@pytest.mark.parametrize(
    "other",
    [
        ("2.csv", ",".join(HEADER) + "\nc-99,2025-01-14,yes,basic,x,y\n"),
        ("2.csv", ",".join(HEADER) + "\nc-99,2025-01-14,yes,basic,x,y\n\n"),
        (
            "2.json",
            '{"customer_id": "c-99", "event_time": "2025-01-14", "churn": true, "a": "basic", "b_1": "x", "c": "y"}\n',
        ),
    ],
)
def test_text_in_another_file_keeps_the_spelling_of_what_look_like_numbers(tmp_path, monkeypatch, other):
    write(tmp_path / "1.csv", [record(number, "1.50", "x", "y") for number in range(9)])
    (tmp_path / other[0]).write_text(other[1])
    by_engine, by_us, is_taken = both(tmp_path, monkeypatch)
    assert is_taken
    assert by_engine == by_us
    assert {row["a"] for row in by_engine[0]} == {"1.50", "basic"}


def test_columns_of_numbers_in_several_files_become_one(tmp_path, monkeypatch):
    write(tmp_path / "1.csv", [record(number, "1.5", "x", "y") for number in range(9)])
    write(tmp_path / "2.csv", [record(number, "2", "x", "y") for number in range(10, 19)])
    write(tmp_path / "3.csv", [record(number, "NA", "x", "7") for number in range(20, 29)])
    by_engine, by_us, is_taken = both(tmp_path, monkeypatch)
    assert is_taken
    assert by_engine == by_us


def test_a_file_whose_name_is_a_pattern_is_not_mistaken_for_others(tmp_path, monkeypatch):
    write(tmp_path / "a.csv", [record(number, "1", "x", "y") for number in range(9)])
    write(tmp_path / "[ab].csv", [record(number, "2", "x", "y") for number in range(10, 19)])
    by_engine, by_us, _ = both(tmp_path, monkeypatch)
    assert by_engine == by_us
    assert by_engine[3] == 18


def test_hostile_names_and_words_are_only_text(tmp_path, monkeypatch):
    folder = tmp_path / "it's"
    folder.mkdir()
    header = [*HEADER[:3], "a'); DROP TABLE judged; --", '"', "{x}"]
    path = write(folder / "o'k.csv", [record(number, "1", "x", "y") for number in range(9)], header)
    monkeypatch.setattr(staging, "MISSING_WORDS", ("'", '"', "x,"))
    by_engine, by_us, _ = both(path, monkeypatch)
    assert by_engine == by_us


def test_a_full_disk_while_loading_is_not_taken_for_an_odd_file(tmp_path):
    path = write(tmp_path / "events.csv", [record(number, "1", "x", "y" * 60) for number in range(20_000)])
    csv_file = plain_csv.PlainCsv(str(path), HEADER, ",", ("NA",))
    with duckdb.connect(config={"memory_limit": "1MB"}) as connection, pytest.raises(duckdb.OutOfMemoryException):
        csv_file.load(connection, "t", ())


@pytest.mark.parametrize("value", ["NA", "", '"NA"'])
def test_a_field_too_many_is_seen_though_it_holds_no_value(tmp_path, monkeypatch, value):
    """DuckDB takes such a record, and its fields would stand in the wrong columns."""
    path = write(tmp_path / "events.csv", [record(number, "1", '"x,x"', "y") for number in range(9)])
    path.write_text(path.read_text().replace("c-3,", "c-3,,").replace(',"x,x",y', f',"x,x",{value}'))
    by_engine, by_us, _ = both(path, monkeypatch)
    assert by_engine == by_us
    assert isinstance(by_engine, tuple), by_engine
    assert [row["reason"] for row in by_engine[1]] == ["unparsable line"]


@settings(max_examples=300, deadline=None)
@given(
    data=st.lists(
        st.sampled_from([b"a", b";", b'"', b" ", b"\t", b"\n", b"\r\n", b"\r", b"_", b",", b"\0"]), max_size=24
    ),
    size=st.integers(1, 9),
)
def test_bytes_are_counted_the_same_in_blocks_of_any_size(tmp_path_factory, data, size):
    content = b"".join(data)
    path = tmp_path_factory.getbasetemp() / "counted.csv"
    path.write_bytes(content)
    lines, pairs = content.count(b"\n"), content.count(b"\r\n")
    odd = (b";\n", b";\r\n", b' "', b'\t"')
    wanted = plain_csv.ByteCounts(
        lines + (not content.endswith(b"\n")),
        *(content.count(character) for character in (b";", b"_", b",")),
        has_quotes=b'"' in content,
    )
    is_uneven = content.count(b"\r") != pairs or pairs not in {0, lines}
    is_odd = b'"' in content and (any(pair in content for pair in odd) or content.endswith(b";"))
    if b"\0" in content or is_uneven or is_odd:
        wanted = None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plain_csv, "_BLOCK_BYTES", size)
        assert plain_csv.count_bytes(path, ";") == wanted
