"""The online store: newest features win, readers wait for nobody and see whole transactions."""

import json
import os
import sqlite3

import pytest

from divisions.errors import OnlineStoreError
from divisions.online_store import (
    OnlineRow,
    OnlineStoreReader,
    newest_event_s,
    online_store_path,
    stored_endpoints,
)
from divisions.online_writer import OnlineStoreWriter


@pytest.fixture
def path(tmp_path):
    return online_store_path(tmp_path)


def row(entity_id, at_s=1.0, **features):
    return OnlineRow(entity_id, at_s, features or {"minutes": at_s})


def is_empty(reader):
    with pytest.raises(OnlineStoreError, match="has no customers of this endpoint"):
        reader.get("c-1")
    return True


def test_a_reader_sees_each_new_transaction(path):
    writer, reader = OnlineStoreWriter(path, "churn"), OnlineStoreReader(path, "churn")
    for at_s in range(5):
        writer.upsert([row("c-1", float(at_s))])
        assert json.loads(reader.get("c-1")) == {"minutes": float(at_s)}
    reader.close()


def test_a_reader_sees_nothing_of_an_unfinished_transaction(path):
    writer, reader = OnlineStoreWriter(path, "churn"), OnlineStoreReader(path, "churn")
    writer.upsert([row("c-1", 1.0)])
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    other.execute("UPDATE \"online:churn\" SET features = x'7b7d'")
    assert json.loads(reader.get("c-1")) == {"minutes": 1.0}
    other.execute("ROLLBACK")
    other.close()
    reader.close()


def test_a_reader_cannot_write(path):
    OnlineStoreWriter(path, "churn").upsert([row("c-1")])
    reader = OnlineStoreReader(path, "churn")
    reader.get("c-1")
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader._connection.execute('DELETE FROM "online:churn"')
    reader.close()


def test_a_request_waits_at_most_fifty_milliseconds(path):
    OnlineStoreWriter(path, "churn").upsert([row("c-1")])
    reader = OnlineStoreReader(path, "churn")
    reader.get("c-1")
    assert reader._connection.execute("PRAGMA busy_timeout").fetchall() == [(50,)]
    reader.close()


@pytest.mark.parametrize("folder", ["a b", "a?mode=rwc", "a#b", "a%20b", "é"])
def test_a_home_may_have_any_name(tmp_path, folder):
    path = online_store_path(tmp_path / folder)
    assert stored_endpoints(path) == ()
    OnlineStoreWriter(path, "churn").upsert([row("c-1")])
    assert stored_endpoints(path) == ("churn",)
    reader = OnlineStoreReader(path, "churn")
    assert reader.get("c-1") is not None
    reader.close()


def test_an_entity_that_is_no_valid_text_is_unknown(path):
    OnlineStoreWriter(path, "churn").upsert([row("c-1")])
    reader = OnlineStoreReader(path, "churn")
    assert reader.get("\ud800") is None
    assert reader.get("c-1") is not None
    reader.close()


def test_a_damaged_store_is_named_in_the_log_alone_and_recovers_when_it_is_replaced(path, caplog):
    path.parent.mkdir(parents=True)
    path.write_bytes(b"this is no database at all" * 100)
    reader = OnlineStoreReader(path, "churn")
    for _ in range(3):
        with pytest.raises(OnlineStoreError, match="cannot be read") as caught:
            reader.get("c-1")
        assert "online.db" not in str(caught.value), "callers without a token read it"
        opened = [os.path.realpath(f"/proc/self/fd/{each}") for each in os.listdir("/proc/self/fd")]
        assert str(path) not in opened, "it would be read again, whatever takes its place"
    (line,) = caplog.messages
    assert "online.db cannot be read: file is not a database" in line
    assert "delete it" in line
    with pytest.raises(OnlineStoreError, match="cannot be written"):
        OnlineStoreWriter(path, "churn").upsert([row("c-1")])
    with pytest.raises(OnlineStoreError, match=r"online\.db cannot be read: file is not a database"):
        stored_endpoints(path)
    path.unlink()
    OnlineStoreWriter(path, "churn").upsert([row("c-1")])
    assert reader.get("c-1") is not None
    reader.close()


def test_an_emptied_store_is_an_error_and_an_unknown_customer_is_none(path):
    OnlineStoreWriter(path, "churn").upsert([row("c-1")])
    reader = OnlineStoreReader(path, "churn")
    assert reader.get("c-2") is None
    with sqlite3.connect(path) as connection:
        connection.execute('DELETE FROM "online:churn"')
    assert is_empty(reader)


def test_a_store_that_was_removed_or_replaced_is_noticed_by_an_open_reader(path):
    writer, reader = OnlineStoreWriter(path, "churn"), OnlineStoreReader(path, "churn")
    writer.upsert([row("c-1", minutes=1)])
    assert json.loads(reader.get("c-1")) == {"minutes": 1}
    for file in path.parent.iterdir():
        file.unlink()
    assert is_empty(reader)
    writer.upsert([row("c-1", minutes=2)])
    assert json.loads(reader.get("c-1")) == {"minutes": 2}


def test_the_first_customer_is_an_example(path):
    reader = OnlineStoreReader(path, "churn")
    assert reader.first() is None
    OnlineStoreWriter(path, "churn").upsert([row("c-2"), row("c-1", minutes=7)])
    for _ in range(2):  # with a connection of its own, and with the open one
        name, features = reader.first()
        assert (name, json.loads(features)) == ("c-1", {"minutes": 7})
    reader.close()
    assert reader.first() is not None
    OnlineStoreWriter(path, "empty").upsert([])
    assert OnlineStoreReader(path, "empty").first() is None


def test_a_store_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "features").write_text("a file where a folder should be")
    with pytest.raises(OnlineStoreError, match="cannot be written"):
        OnlineStoreWriter(online_store_path(tmp_path), "churn").upsert([row("c-1")])


def test_how_new_the_features_are_is_told_by_a_sample_of_the_customers(path):
    writer = OnlineStoreWriter(path, "churn")
    writer.upsert([row(f"c-{number}", at_s=float(number)) for number in range(1, 1_001)])
    everywhere = [number / 1_000 for number in range(1_000)]
    assert newest_event_s(path, "churn", everywhere) == 1_000.0
    assert newest_event_s(path, "churn", [0.0, 0.25]) == 1_000.0, "the last row is always looked at"
    writer.upsert([row("c-500", at_s=5_000.0)])
    assert newest_event_s(path, "churn", everywhere) == 5_000.0
    writer.expire(10_000.0)
    assert newest_event_s(path, "churn", [0.5]) is None
    with pytest.raises(OnlineStoreError):
        newest_event_s(path, "absent", [0.5])
