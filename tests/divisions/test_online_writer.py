"""Writing the online store: whole transactions, deleted customers stay away, old rows leave."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from divisions.deletions import Deletions, deletions_path
from divisions.errors import OnlineStoreError
from divisions.online_store import OnlineRow, OnlineStoreReader, online_store_path
from divisions.online_writer import Filled, OnlineStoreWriter

NOW_S = 1_000.0


@pytest.fixture
def path(tmp_path):
    return online_store_path(tmp_path)


def row(entity_id, at_s=1.0, value=0):
    return (entity_id, b'{"minutes":%d}' % value, at_s)


def value_of(path, entity_id):
    reader = OnlineStoreReader(path, "churn")
    found = reader.get(entity_id)
    reader.close()
    return None if found is None else json.loads(found)["minutes"]


def test_batches_are_one_transaction(path):
    writer = OnlineStoreWriter(path, "churn")
    writer.fill([[row("c-1", value=1)]])

    def batches():
        yield [row("c-1", value=2), row("c-2", value=2)]
        assert (value_of(path, "c-1"), value_of(path, "c-2")) == (1, None), "a reader sees the old rows"
        yield [row("c-3", value=2)]

    assert writer.fill(batches()) == Filled(3)
    assert [value_of(path, name) for name in ("c-1", "c-2", "c-3")] == [2, 2, 2]


def test_rows_that_cannot_be_read_to_their_end_leave_the_store_as_it_was(path):
    writer = OnlineStoreWriter(path, "churn")
    writer.fill([[row("c-1", value=1)]])

    def batches():
        yield [row("c-1", value=2)]
        raise ValueError("damaged")

    with pytest.raises(ValueError, match="damaged"):
        writer.fill(batches())
    assert value_of(path, "c-1") == 1
    assert writer.fill([[row("c-1", value=3)]]) == Filled(1)


KILLED = """
import os, signal, sys
from pathlib import Path
from divisions.online_writer import OnlineStoreWriter
def batches():
    for batch in range(40):  # more than the cache holds: a part is in the log already
        yield [(f"c-{batch}-{index}", b"2" * 1_000, 2.0) for index in range(2_500)]
    os.kill(os.getpid(), signal.SIGKILL)
OnlineStoreWriter(Path(sys.argv[1]), "churn").fill(batches())
"""


@pytest.mark.parametrize("has_reader", [True, False])
def test_a_fill_that_is_killed_leaves_the_old_rows_complete(path, has_reader):
    OnlineStoreWriter(path, "churn").fill([[row("c-1", value=1), row("c-0-0", value=1)]])
    reader = OnlineStoreReader(path, "churn")
    if has_reader:
        assert reader.get("c-1") is not None
    process = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    assert process.returncode == -signal.SIGKILL
    assert os.path.getsize(f"{path}-wal") > 10_000_000
    assert json.loads(reader.get("c-0-0")) == {"minutes": 1}
    assert reader.get("c-5-5") is None
    assert OnlineStoreWriter(path, "churn").fill([[row("c-1", value=3)]]) == Filled(1)
    assert json.loads(reader.get("c-1")) == {"minutes": 3}
    reader.close()


def test_a_full_disk_is_told_and_the_old_rows_stay(path):
    writer = OnlineStoreWriter(path, "churn")
    writer.fill([[row("c-1", value=1)]])
    script = KILLED.replace("import os,", "import resource, os,").replace(
        "def batches", "resource.setrlimit(resource.RLIMIT_FSIZE, (5_000_000, resource.RLIM_INFINITY))\ndef batches"
    )
    process = subprocess.run([sys.executable, "-c", script, str(path)], check=False, capture_output=True, text=True)
    assert "OnlineStoreError: the online store" in process.stderr
    assert "online.db cannot be written: " in process.stderr
    assert "check the disk" in process.stderr
    assert value_of(path, "c-1") == 1


def test_the_log_does_not_keep_the_size_of_a_fill(path):
    reader = OnlineStoreReader(path, "churn")
    writer = OnlineStoreWriter(path, "churn")
    writer.fill([[row("c-1")]])
    assert reader.get("c-1") is not None  # stays open, as a gateway's
    writer.fill([[(f"c-{index}", b"{}" + b" " * 1_000, 1.0) for index in range(5_000)]])
    assert os.path.getsize(f"{path}-wal") == 0
    assert reader.get("c-4999") is not None
    reader.close()


def test_a_deleted_customer_stays_away_until_the_deletion_is_taken_back(path):
    writer = OnlineStoreWriter(path, "churn")
    writer.fill([[row("c-1"), row("c-2")]])
    assert writer.delete("c-1", NOW_S)
    assert not writer.delete("c-1", NOW_S + 1)
    assert writer.fill([[row("c-1", 9.0), row("c-2", 9.0)]]) == Filled(1, 1)
    assert value_of(path, "c-1") is None
    assert OnlineStoreWriter(path, "other").fill([[row("c-1")]]) == Filled(1), "the wish is about one endpoint"
    deletions = Deletions(deletions_path(path))
    assert deletions.of("churn") == {"c-1": NOW_S}
    assert deletions.remove("churn", "c-1")
    assert not deletions.remove("churn", "c-1")
    assert writer.fill([[row("c-1", 9.0)]]) == Filled(1)


def test_a_deletion_outlives_a_store_that_was_removed(path):
    writer = OnlineStoreWriter(path, "churn")
    writer.fill([[row("c-1")]])
    writer.delete("c-1", NOW_S)
    for name in ("", "-wal", "-shm"):
        path.with_name(f"{path.name}{name}").unlink(missing_ok=True)
    assert writer.fill([[row("c-1"), row("c-2")]]) == Filled(1, 1)


def test_a_deletion_that_was_cut_short_is_completed_by_the_next_fill(path):
    writer = OnlineStoreWriter(path, "churn")
    writer.fill([[row("c-1"), row("c-2")]])
    Deletions(deletions_path(path)).add("churn", "c-1", NOW_S)
    writer.fill([])
    assert value_of(path, "c-1") is None


def test_the_values_of_a_deleted_customer_are_not_in_the_files_any_more(path):
    writer = OnlineStoreWriter(path, "churn")
    secret = b"a very special value"
    writer.fill([[("c-1", b'{"x":"%s"}' % secret, 1.0), *(row(f"d-{index}") for index in range(500))]])
    reader = OnlineStoreReader(path, "churn")
    assert reader.get("c-1") is not None
    assert secret in b"".join(file.read_bytes() for file in path.parent.iterdir())
    writer.delete("c-1", NOW_S)
    assert secret not in b"".join(file.read_bytes() for file in path.parent.iterdir())
    assert reader.get("c-1") is None
    reader.close()


def test_a_deletion_during_a_fill_waits_for_it_and_removes_the_customer(path):
    OnlineStoreWriter(path, "churn").fill([[row("c-1")]])
    waits = threading.Event()
    results = []

    def delete():
        results.append(OnlineStoreWriter(path, "churn", on_wait=waits.set).delete("c-1", NOW_S))

    thread = threading.Thread(target=delete)

    def batches():
        yield [row("c-1", 2.0)]
        thread.start()
        assert waits.wait(30)
        yield [row("c-2", 2.0)]

    OnlineStoreWriter(path, "churn").fill(batches())
    thread.join(30)
    assert results == [True]
    assert (value_of(path, "c-1"), value_of(path, "c-2")) == (None, 0)


def test_customers_expire_by_their_event_time(path):
    writer = OnlineStoreWriter(path, "churn")
    writer.fill([[row("old", 1.0), row("edge", 2.0), row("new", 3.0)]])
    assert writer.expire(2.0) == 1
    assert [value_of(path, name) for name in ("old", "edge", "new")] == [None, 0, 0]
    writer.fill([[row("old", 4.0)]])
    assert value_of(path, "old") == 0, "a customer with news comes back"


def test_a_damaged_list_of_deletions_stops_a_fill(path):
    writer = OnlineStoreWriter(path, "churn")
    writer.fill([[row("c-1", value=1)]])
    deletions_path(path).write_bytes(b"no database" * 200)
    with pytest.raises(OnlineStoreError, match=r"deleted\.db, cannot be used"):
        writer.fill([[row("c-1", value=2)]])
    assert value_of(path, "c-1") == 1


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["fill", "delete", "restore", "expire"]), st.sampled_from("abc"), st.integers(0, 9)),
        max_size=12,
    )
)
def test_the_store_is_what_its_history_says(tmp_path_factory, steps):
    path = online_store_path(tmp_path_factory.mktemp("store"))
    writer, deletions = OnlineStoreWriter(path, "churn"), Deletions(deletions_path(path))
    stored, deleted = {}, set()
    for action, name, at_s in steps:
        match action:
            case "fill":
                writer.upsert([OnlineRow(name, float(at_s), {"minutes": at_s})])
                if name not in deleted:
                    stored[name] = max(at_s, stored.get(name, 0))
            case "delete":
                assert writer.delete(name, NOW_S) == (stored.pop(name, None) is not None)
                deleted.add(name)
            case "restore":
                assert deletions.remove("churn", name) == (name in deleted)
                deleted.discard(name)
            case "expire":
                old = [each for each, time_s in stored.items() if time_s < at_s]
                assert writer.expire(float(at_s)) == len(old)
                for each in old:
                    del stored[each]
    writer.fill([])
    with sqlite3.connect(path) as connection:
        found = connection.execute('SELECT entity_id, event_time_s FROM "online:churn"').fetchall()
    assert dict(found) == stored
