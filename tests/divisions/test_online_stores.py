"""What every online store promises, in SQLite and in Redis: the newest row wins, fills are whole, deleted stay away."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from divisions.deletions import deletions_path
from divisions.errors import OnlineStoreError, SettingsError
from divisions.online_store import OnlineRow, online_store_path
from divisions.online_stores import RedisStore, SqliteStore, open_store
from divisions.online_writer import Filled
from divisions.settings import Settings
from divisions.store_url import parse_store_url

NOW_S = 1_000.0


def store_of(kind, home, request):
    if kind == "sqlite":
        return SqliteStore(online_store_path(home))
    server = request.getfixturevalue("redis_server")
    server.flush()
    return RedisStore(parse_store_url(server.url), home)


@pytest.fixture(params=["sqlite", "redis"])
def store(request, tmp_path):
    return store_of(request.param, tmp_path, request)


def row(entity_id, at_s=1.0, value=0):
    return (entity_id, b'{"minutes":%d}' % value, at_s)


def values(store, *entity_ids):
    reader = store.reader("churn")
    found = reader.get_many(entity_ids)
    reader.close()
    return [json.loads(found[each][1])["minutes"] if each in found else None for each in entity_ids]


def is_empty(reader):
    with pytest.raises(OnlineStoreError, match="has no customers of this endpoint"):
        reader.get("c-1")
    return True


def test_a_reader_may_come_before_the_store_and_finds_it_later(store):
    reader = store.reader("churn")
    assert is_empty(reader)
    assert store.endpoints() == ()
    store.writer("other").upsert([OnlineRow("c-1", 1.0, {})])
    assert is_empty(reader)
    store.writer("churn").upsert([])
    assert is_empty(reader)
    assert store.endpoints() == ("churn", "other")
    store.writer("churn").upsert([OnlineRow("c-1", 1.5, {"minutes": None, "plan": "é"})])
    assert json.loads(reader.get("c-1")) == {"minutes": None, "plan": "é"}
    assert reader.get_many(["c-1", "c-2"])["c-1"][2] == 1.5
    assert reader.get("c-2") is None
    reader.close()


def test_a_late_event_does_not_replace_a_newer_one_and_an_equal_one_does(store):
    writer = store.writer("churn")
    assert writer.fill([[row("c-1", 5.0, 1), row("c-2", 5.0, 1), row("c-3", 5.0, 1)]]) == Filled(3)
    assert writer.fill([[row("c-1", 4.0, 2), row("c-2", 5.0, 2), row("c-3", 6.0, 2)]]) == Filled(2)
    assert values(store, "c-1", "c-2", "c-3") == [1, 2, 2]


def test_a_small_fill_into_many_rows_and_a_large_one_into_few_end_the_same_way(store):
    """Redis copies the smaller part of the rows into the larger."""
    writer = store.writer("churn")
    many = [row(f"c-{index}", 5.0, 1) for index in range(3_000)]
    assert writer.fill([many]) == Filled(3_000)
    assert writer.fill([[row("c-1", 4.0, 2), row("c-2", 5.0, 2), row("c-3", 6.0, 2), row("new", 0.0, 2)]]) == Filled(3)
    assert values(store, "c-0", "c-1", "c-2", "c-3", "new") == [1, 1, 2, 2, 2]
    later = [row(f"c-{index}", 5.5, 3) for index in range(2_900)]
    assert writer.fill([later[:1_000], later[1_000:]]) == Filled(2_899)
    assert values(store, "c-0", "c-3", "c-2899", "c-2900", "new") == [3, 2, 3, 1, 2]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    batches=st.lists(
        st.lists(st.tuples(st.sampled_from(["", "a", "é", "a'; --\r\n$3", "\0"]), st.integers(0, 9)), max_size=6),
        max_size=4,
    )
)
def test_the_store_holds_the_newest_row_of_each_customer(request, tmp_path_factory, batches):
    for kind in ("sqlite", "redis"):
        store = store_of(kind, tmp_path_factory.mktemp("store"), request)
        newest = {}
        store.writer("churn").fill([[row("somebody", 0.0)]])
        for batch in batches:
            store.writer("churn").fill([[row(name, float(at_s), at_s) for name, at_s in batch]])
            for name, at_s in batch:
                newest[name] = max(newest.get(name, 0), at_s)
        names = ["", "a", "é", "a'; --\r\n$3", "\0"]
        assert values(store, *names) == [newest.get(name) for name in names]


@settings(max_examples=25)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["fill", "delete", "restore", "expire"]), st.sampled_from("abc"), st.integers(0, 9)),
        max_size=12,
    )
)
def test_the_store_is_what_its_history_says(request, tmp_path_factory, steps):
    for kind in ("sqlite", "redis"):
        store = store_of(kind, tmp_path_factory.mktemp("store"), request)
        writer, deletions = store.writer("churn"), store.deletions()
        stored, deleted = {"z": 99}, set()
        writer.fill([[row("z", 99.0, 99)]])
        for action, name, at_s in steps:
            match action:
                case "fill":
                    writer.fill([[row(name, float(at_s), at_s)]])
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
            assert values(store, "a", "b", "c", "z") == [stored.get(each) for each in "abcz"]
            assert deletions.of("churn") == dict.fromkeys(deleted, NOW_S)


def test_endpoints_do_not_see_one_another(store):
    store.writer("churn").fill([[row("c-1")]])
    store.writer("churn.v2-x_y").fill([[row("c-2")]])
    reader = store.reader("churn.v2-x_y")
    assert reader.get("c-1") is None
    assert reader.get("c-2") is not None
    reader.close()


@pytest.mark.parametrize("endpoint", ["", "Churn", 'x"; DROP TABLE y; --', "../x", "x" * 65, "churn\n", "a}b"])
def test_a_name_that_no_endpoint_can_have_is_refused(store, endpoint):
    for open_ in (store.reader, store.writer):
        with pytest.raises(OnlineStoreError, match="not an endpoint's name"):
            open_(endpoint)


def test_an_entity_that_is_no_valid_text_is_unknown_and_cannot_be_stored(store):
    store.writer("churn").fill([[row("c-1")]])
    reader = store.reader("churn")
    assert reader.get("\ud800") is None
    assert set(reader.get_many(["\ud800", "c-1"])) == {"c-1"}
    with pytest.raises(OnlineStoreError):
        store.writer("churn").fill([[row("\ud800")]])
    reader.close()


def test_there_is_an_example_customer(store):
    reader = store.reader("churn")
    assert reader.first() is None
    store.writer("churn").fill([[row("c-1", value=7)]])
    assert reader.first() == ("c-1", b'{"minutes":7}')
    store.writer("churn").delete("c-1", NOW_S)
    assert reader.first() is None
    assert is_empty(reader), "nobody is left"
    reader.close()


def test_batches_are_seen_together(store):
    writer = store.writer("churn")
    writer.fill([[row("c-1", value=1)]])

    def batches():
        yield [row("c-1", value=2), row("c-2", value=2)]
        assert values(store, "c-1", "c-2") == [1, None], "a reader sees the old rows"
        yield [row("c-3", value=2)]

    assert writer.fill(batches()) == Filled(3)
    assert values(store, "c-1", "c-2", "c-3") == [2, 2, 2]


def test_rows_that_cannot_be_read_to_their_end_leave_the_store_as_it_was(store):
    writer = store.writer("churn")
    writer.fill([[row("c-1", value=1)]])

    def batches():
        yield [row(f"c-{index}", value=2) for index in range(3_000)]
        raise ValueError("damaged")

    with pytest.raises(ValueError, match="damaged"):
        writer.fill(batches())
    assert values(store, "c-1", "c-2") == [1, None]
    assert writer.fill([[row("c-1", value=3)]]) == Filled(1)


KILLED = """
import os, signal, sys
from pathlib import Path
from divisions.online_stores import open_store
from divisions.settings import load_settings
def batches():
    for batch in range(8):
        yield [(f"c-{batch}-{index}", b"2" * 1_000, 2.0) for index in range(2_500)]
    os.kill(os.getpid(), signal.SIGKILL)
open_store(load_settings()).writer("churn").fill(batches())
"""


def test_a_fill_that_is_killed_leaves_the_old_rows(store, tmp_path):
    store.writer("churn").fill([[row("c-1", value=1), row("c-0-0", value=1)]])
    url = ""
    if isinstance(store, RedisStore):
        url = f"redis://:{store.address.password}@{store.address.host}:{store.address.port}"
    process = subprocess.run(
        [sys.executable, "-c", KILLED],
        check=False,
        env={**os.environ, "DIVISIONS_HOME": str(tmp_path), "DIVISIONS_ONLINE_STORE": url},
    )
    assert process.returncode == -signal.SIGKILL
    assert values(store, "c-0-0", "c-5-5") == [1, None]
    assert store.writer("churn").fill([[row("c-1", value=3)]]) == Filled(1)
    assert values(store, "c-1", "c-0-0", "c-5-5") == [3, 1, None]


def test_fills_at_the_same_time_are_whole_and_the_newer_events_win(store):
    other = store.writer("churn")

    def batches():
        yield [row("c-1", 2.0, 2), row("c-2", 2.0, 2)]
        if isinstance(store, RedisStore):  # SQLite's second writer waits
            assert other.fill([[row("c-1", 3.0, 3), row("c-2", 1.0, 3), row("c-3", 1.0, 3)]]) == Filled(3)
        yield [row("c-4", 2.0, 2)]

    store.writer("churn").fill(batches())
    if not isinstance(store, RedisStore):
        other.fill([[row("c-1", 3.0, 3), row("c-2", 1.0, 3), row("c-3", 1.0, 3)]])
    assert values(store, "c-1", "c-2", "c-3", "c-4") == [3, 2, 3, 2]


def test_a_deleted_customer_stays_away_until_the_deletion_is_taken_back(store):
    writer = store.writer("churn")
    writer.fill([[row("c-1"), row("c-2")]])
    assert writer.delete("c-1", NOW_S)
    assert not writer.delete("c-1", NOW_S + 1)
    assert writer.fill([[row("c-1", 9.0), row("c-2", 9.0)]]) == Filled(1, 1)
    assert values(store, "c-1", "c-2") == [None, 0]
    assert store.writer("other").fill([[row("c-1")]]) == Filled(1), "the wish is about one endpoint"
    deletions = store.deletions()
    assert deletions.of("churn") == {"c-1": NOW_S}
    assert deletions.remove("churn", "c-1")
    assert not deletions.remove("churn", "c-1")
    assert writer.fill([[row("c-1", 9.0)]]) == Filled(1)


def test_a_deletion_during_a_fill_removes_the_customer(store):
    store.writer("churn").fill([[row("c-1")]])
    results, waits = [], threading.Event()
    thread = threading.Thread(target=lambda: results.append(store.writer("churn", waits.set).delete("c-1", NOW_S)))

    def batches():
        yield [row("c-1", 2.0)]
        thread.start()
        if isinstance(store, SqliteStore):
            assert waits.wait(120)
        else:
            thread.join(120)
        yield [row("c-2", 2.0)]

    store.writer("churn").fill(batches())
    thread.join(120)
    assert results == [True]
    assert values(store, "c-1", "c-2") == [None, 0]


def test_a_deletion_outlives_a_store_that_lost_everything(store, request):
    writer = store.writer("churn")
    writer.fill([[row("c-1"), row("c-2")]])
    writer.delete("c-1", NOW_S)
    if isinstance(store, RedisStore):
        request.getfixturevalue("redis_server").flush()
    else:
        for name in ("", "-wal", "-shm"):
            store.path.with_name(f"{store.path.name}{name}").unlink(missing_ok=True)
    assert store.deletions().of("churn") == {"c-1": NOW_S}
    assert writer.fill([[row("c-1"), row("c-2")]]) == Filled(1, 1)
    assert values(store, "c-1", "c-2") == [None, 0]
    assert store.deletions().of("churn") == {"c-1": NOW_S}


def test_a_damaged_list_of_deletions_stops_a_fill(store, tmp_path):
    writer = store.writer("churn")
    writer.fill([[row("c-1", value=1)]])
    damaged = deletions_path(online_store_path(tmp_path))
    damaged.parent.mkdir(exist_ok=True)
    damaged.write_bytes(b"no database" * 200)
    with pytest.raises(OnlineStoreError, match=r"deleted\.db, cannot be used"):
        writer.fill([[row("c-1", value=2)]])
    assert values(store, "c-1") == [1]


def test_customers_expire_by_their_event_time(store):
    writer = store.writer("churn")
    writer.fill([[row("old", 1.0), row("edge", 2.0), row("new", 3.0), *(row(f"c-{each}") for each in range(1_000))]])
    assert writer.expire(2.0) == 1_001
    assert values(store, "old", "edge", "new") == [None, 0, 0]
    writer.fill([[row("old", 4.0)]])
    assert values(store, "old") == [0], "a customer with news comes back"
    assert writer.expire(9.0) == 3
    assert is_empty(store.reader("churn"))


def test_a_store_that_was_never_filled_has_nobody_to_remove(store):
    assert store.writer("churn").delete("c-1", NOW_S) is False
    assert store.writer("churn").expire(9.0) == 0


def test_settings_choose_the_store(tmp_path):
    sqlite = open_store(Settings(home=tmp_path))
    assert str(sqlite) == str(online_store_path(tmp_path))
    redis = open_store(Settings(home=tmp_path, online_store="valkey://app:secret@features.example:7000/3"))
    assert str(redis) == "redis://features.example:7000/3"
    assert "secret" not in repr(redis)
    with pytest.raises(SettingsError):
        open_store(dataclasses.replace(Settings(home=tmp_path), online_store="http://x"))
