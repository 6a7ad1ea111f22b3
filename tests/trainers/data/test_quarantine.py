"""Unusable rows go to a file, in their order, as they are spelled, and are not kept in memory."""

import errno
import json

import pandas as pd
import pytest

from divisions.errors import InputError
from divisions.pipeline.definition import Features
from divisions.settings import S3Settings
from trainers.data import bad_rows
from trainers.data.bad_rows import BadRows
from trainers.data.file_formats import BadRow
from trainers.data.ingest import Reading, read_events
from trainers.data.quarantine import Quarantine

HEADER = "customer_id,event_time,minutes,plan,churn"
GOOD = [f"c-{i},2025-01-14,{i},gold,{i % 2}" for i in range(9)]


def read(path, quarantine=None):
    reading = Reading(quarantine=quarantine)
    return read_events(
        str(path), s3=S3Settings(), allow_buckets=(), features=Features(), label="churn", reading=reading
    )


def test_numbers_and_missing_words_of_plain_csv_are_shown_as_they_are_spelled(tmp_path):
    bad = ["c-20,soon,1.50,NA,1", ",2025-01-14,007,,0", "c-21,2025-01-14,1e3,gold,perhaps"]
    (tmp_path / "a.csv").write_text("\n".join([HEADER, *GOOD[:4], bad[0], *GOOD[4:], *bad[1:]]) + "\n")
    (tmp_path / "b.csv").write_text("\n".join([HEADER, "c-30,2025-01-14,5,gold,1", "c-31,never,6.0,pro,0"]) + "\n")
    found = read(tmp_path).quarantine
    assert [name[-5:] for name in found["source"]] == ["a.csv"] * 3 + ["b.csv"]
    assert found["row"].tolist() == [6, 12, 13, 3]
    raw = [json.loads(text) for text in found["raw"]]
    assert [row["minutes"] for row in raw] == ["1.50", "007", "1e3", "6.0"]
    assert [row["plan"] for row in raw] == ["NA", "", "gold", "pro"]


def test_rows_of_all_kinds_go_to_one_file_in_their_order(tmp_path, monkeypatch):
    monkeypatch.setattr(bad_rows, "_BATCH_ROWS", 2)
    folder = tmp_path / "raw"
    folder.mkdir()
    short = [f"c-{i},2025-01-14" for i in range(5)]
    (folder / "a.csv").write_text("\n".join([HEADER, *GOOD, *short, "c-9,soon,1,gold,1"]) + "\n")
    lines = [json.dumps(dict(zip(HEADER.split(","), f"d{line}".split(","), strict=True))) for line in GOOD]
    (folder / "b.jsonl").write_text("\n".join(["[1]", *lines, '{"a": ', '{"customer_id": "x", "customer_id": "y"}']))
    draft = tmp_path / "drafts" / ".quarantine.draft"
    events = read(folder, draft)
    assert events.reasons == {"unparsable line": 8, "unreadable event_time": 1}
    assert events.num_read == len(events.frame) + events.num_quarantined
    assert events.unusable.table is None
    written = events.unusable.write(tmp_path / "quarantine")
    assert not draft.exists()
    found = pd.read_parquet(written)
    assert found.equals(read(folder).quarantine)
    keys = list(zip(found["source"], found["row"], strict=True))
    assert keys == sorted(keys)
    assert len(keys) == 9
    of_csv = found[found["source"].str.endswith("a.csv")]
    assert of_csv["row"].tolist() == [*range(11, 16), 16]
    assert of_csv["detail"].tolist() == ["2 fields, expected 5"] * 5 + [""]


def test_a_file_that_another_node_has_is_an_error_that_says_so(tmp_path):
    lost = Quarantine({"unparsable line": 1}, tmp_path / "lost.draft")
    with pytest.raises(InputError, match=r"does not find it.*share the home"):
        lost.write(tmp_path / "quarantine")


@pytest.mark.parametrize("batch", [1, 100])
def test_a_full_disk_is_named_as_one(tmp_path, monkeypatch, batch):
    monkeypatch.setattr(bad_rows, "_BATCH_ROWS", batch)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "a.csv").write_text("\n".join([HEADER, *GOOD, "c-9"]))
    monkeypatch.setattr(BadRows, "_write", full)
    with pytest.raises(InputError, match=r"no space left in .*give TMPDIR a larger disk"):
        read(tmp_path)


def test_bad_rows_keep_few_in_memory_and_their_order(tmp_path, monkeypatch):
    monkeypatch.setattr(bad_rows, "_BATCH_ROWS", 3)
    monkeypatch.setattr(bad_rows, "_MAX_REASONS", 2)
    rows = [BadRow("b", 5, "unparsable line", f"detail {i}", f"raw {i}") for i in range(10)]
    rows.append(BadRow("a", 7, "unparsable line", "", "é\n"))
    bad = BadRows(tmp_path)
    for number, row in enumerate(rows):
        bad.append(row)
        assert len(bad._waiting) < 3
        assert len(bad) == number + 1
    assert list(bad.read()) == rows
    assert bad.first == rows[-1]
    assert bad.reasons == {"unparsable line": 11}
    assert bad.details == {"unparsable line (detail 0)": 1, "unparsable line (detail 1)": 1, "unparsable line": 9}
