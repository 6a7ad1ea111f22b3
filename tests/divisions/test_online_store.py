"""The online store: newest features win, readers wait for nobody and see whole transactions."""

import json
import sqlite3

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from divisions.errors import OnlineStoreError
from divisions.online_store import OnlineRow, OnlineStoreReader, online_store_path
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


def test_a_reader_may_come_before_the_store_and_finds_it_later(path):
    reader = OnlineStoreReader(path, "churn")
    assert is_empty(reader)
    OnlineStoreWriter(path, "other").upsert([row("c-1")])
    assert is_empty(reader)
    OnlineStoreWriter(path, "churn").upsert([])
    assert is_empty(reader)
    OnlineStoreWriter(path, "churn").upsert([row("c-1", minutes=None, plan="é")])
    found = reader.get("c-1")
    assert isinstance(found, bytes)
    assert json.loads(found) == {"minutes": None, "plan": "é"}
    assert reader.get("c-2") is None
    reader.close()


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


def test_a_late_event_does_not_replace_a_newer_one(path):
    writer, reader = OnlineStoreWriter(path, "churn"), OnlineStoreReader(path, "churn")
    assert writer.upsert([row("c-1", 5.0), row("c-2", 5.0)]) == 2
    assert writer.upsert([row("c-1", 4.0), row("c-2", 6.0)]) == 1
    assert json.loads(reader.get("c-1")) == {"minutes": 5.0}
    assert json.loads(reader.get("c-2")) == {"minutes": 6.0}
    reader.close()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    batches=st.lists(
        st.lists(st.tuples(st.sampled_from(["", "a", "é", "a'; --"]), st.integers(0, 9)), max_size=6), max_size=4
    )
)
def test_the_store_holds_the_newest_row_of_each_customer(tmp_path_factory, batches):
    path = online_store_path(tmp_path_factory.mktemp("store"))
    writer, reader = OnlineStoreWriter(path, "churn"), OnlineStoreReader(path, "churn")
    newest = {}
    writer.upsert([row("somebody", 0.0)])
    for batch in batches:
        writer.upsert([row(name, float(at_s)) for name, at_s in batch])
        for name, at_s in batch:
            newest[name] = max(newest.get(name, 0), at_s)
    for name in ["", "a", "é", "a'; --"]:
        found = reader.get(name)
        assert (None if found is None else json.loads(found)["minutes"]) == newest.get(name)
    reader.close()


def test_endpoints_do_not_see_one_another(path):
    OnlineStoreWriter(path, "churn").upsert([row("c-1")])
    OnlineStoreWriter(path, "churn.v2-x_y").upsert([row("c-2")])
    reader = OnlineStoreReader(path, "churn.v2-x_y")
    assert reader.get("c-1") is None
    assert reader.get("c-2") is not None
    reader.close()


@pytest.mark.parametrize("endpoint", ["", "Churn", 'x"; DROP TABLE y; --', "../x", "x" * 65, "churn\n"])
def test_a_name_that_no_endpoint_can_have_is_refused(path, endpoint):
    with pytest.raises(OnlineStoreError, match="not an endpoint's name"):
        OnlineStoreReader(path, endpoint)
    with pytest.raises(OnlineStoreError, match="not an endpoint's name"):
        OnlineStoreWriter(path, endpoint)


def test_a_reader_cannot_write(path):
    OnlineStoreWriter(path, "churn").upsert([row("c-1")])
    reader = OnlineStoreReader(path, "churn")
    reader.get("c-1")
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader._connection.execute('DELETE FROM "online:churn"')
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
    (line,) = caplog.messages
    assert "online.db cannot be read: file is not a database" in line
    assert "delete it" in line
    with pytest.raises(OnlineStoreError, match="cannot be written"):
        OnlineStoreWriter(path, "churn").upsert([row("c-1")])
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
