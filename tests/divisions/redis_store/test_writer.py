"""Writing to a real Redis that is full, frozen, gone, read-only or another's; writers that die at each step."""

import contextlib
import json
import signal
import struct
import subprocess
import sys

import pytest
import redis

from divisions.errors import OnlineStoreError
from divisions.online_stores import RedisStore
from divisions.online_writer import Filled
from divisions.redis_store import connection
from divisions.redis_store import writer as writer_module
from divisions.store_url import parse_store_url
from tests.servers import PASSWORD

PREFIX = "divisions:online:{churn}:"


@pytest.fixture
def client(redis_server):
    redis_server.flush()
    with redis.Redis(redis_server.host, redis_server.port, password=PASSWORD, decode_responses=True) as client:
        yield client


@pytest.fixture
def store(redis_server, client, tmp_path):
    return RedisStore(parse_store_url(redis_server.url), tmp_path)


def row(entity_id, at_s=1.0, value=0):
    return (entity_id, b'{"minutes":%d}' % value, at_s)


def many(number, at_s=1.0, value=0):
    return [row(f"c-{index}", at_s, value) for index in range(number)]


def values(store, *entity_ids):
    reader = store.reader("churn")
    found = reader.get_many(entity_ids)
    reader.close()
    return [json.loads(found[each][1])["minutes"] if each in found else None for each in entity_ids]


def layers(client):
    return client.get(PREFIX + "layers").split()


@contextlib.contextmanager
def configured(client, **values):
    before = {name: client.config_get(name)[name] for name in values}
    for name, value in values.items():
        client.config_set(name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            client.config_set(name, value)


DIES = """
import os, signal, sys
from pathlib import Path
from divisions.online_stores import RedisStore
from divisions.redis_store import writer
from divisions.store_url import parse_store_url
scripts, left = {"COMMIT": writer.COMMIT, "MERGE": writer.MERGE, "FINISH": writer.FINISH}, int(sys.argv[3])
step = writer.RedisWriter._step
def dying(self, script, *arguments):
    global left
    left -= script == scripts[sys.argv[2]]
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, script, *arguments)
writer.RedisWriter._step = dying
store = RedisStore(parse_store_url(sys.stdin.read()), Path(sys.argv[1]))
store.writer("churn").fill([[(f"c-{index}", b'{"minutes":2}', 2.0) for index in range(2_000)]])
"""


@pytest.mark.parametrize(
    ("script", "times", "is_visible"),
    [("COMMIT", 0, False), ("MERGE", 0, True), ("MERGE", 2, True), ("FINISH", 0, True)],
)
def test_a_writer_that_dies_leaves_all_of_its_rows_or_none(
    store, client, redis_server, tmp_path, monkeypatch, script, times, is_visible
):
    store.writer("churn").fill([[*many(1_500, 1.0, 1), row("c-7", 3.0, 3), row("alone", 1.0, 1)]])
    process = subprocess.run(
        [sys.executable, "-c", DIES, str(tmp_path), script, str(times)],
        input=redis_server.url, text=True, check=False,
    )  # fmt: skip
    assert process.returncode == -signal.SIGKILL
    expected = [1, 2, 2, 3] if is_visible else [1, 1, None, 3]
    assert values(store, "alone", "c-0", "c-1999", "c-7") == expected
    assert len(layers(client)) == 1 + is_visible
    assert 0 < client.pttl(PREFIX + "lock") <= 30_000, "the lock of the dead ends by itself"
    told = []
    client.pexpire(PREFIX + "lock", 300)
    monkeypatch.setattr(writer_module, "_PATIENCE_S", 0.0)
    assert store.writer("churn", lambda: told.append(1)).fill([[row("new", 1.0, 9)]]) == Filled(1)
    assert told == [1], "it said once that it waits"
    assert values(store, "alone", "c-0", "c-1999", "c-7", "new") == [*expected, 9]
    assert len(layers(client)) == 1
    left = {key for key in client.scan_iter(PREFIX + "rows:*") if client.ttl(key) == -1}
    assert left == {f"{PREFIX}rows:{layers(client)[0]}"}, "what nobody reads ends by itself"


def test_old_rows_are_removed_from_both_layers_of_a_writer_that_died(store, client):
    store.writer("churn").fill([[row("c-1", 1.0), row("c-2", 5.0)]])
    client.hset(PREFIX + "rows:" + "f" * 16, "c-3", struct.pack(">d", 1.0) + b"{}")
    client.set(PREFIX + "layers", f"{'f' * 16} {layers(client)[0]}")
    assert store.writer("churn").expire(2.0) == 2
    assert values(store, "c-1", "c-2", "c-3") == [None, 0, None]
    assert len(layers(client)) == 1


def test_a_writer_that_lost_its_lock_changes_nothing(store, client, monkeypatch):
    store.writer("churn").fill([[row("c-1", value=1)]])
    step = writer_module.RedisWriter._step

    def late(self, script, *arguments):
        client.set(PREFIX + "lock", "of another writer", px=100)
        return step(self, script, *arguments)

    monkeypatch.setattr(writer_module.RedisWriter, "_step", late)
    with pytest.raises(OnlineStoreError, match=r"LOCKLOST another writer has it.*run it again"):
        store.writer("churn").fill([[row("c-1", 2.0, value=2)]])
    assert values(store, "c-1") == [1]
    assert len(list(client.scan_iter(PREFIX + "rows:*"))) == 1
    assert client.get(PREFIX + "lock") == "of another writer", "it is not ours to remove"


def test_rows_that_were_evicted_while_they_were_staged_are_noticed(store, client):
    store.writer("churn").fill([[row("c-1", value=1)]])

    def batches():
        yield many(5_000, 2.0, 2)
        for key in client.scan_iter(PREFIX + "rows:*"):
            if client.ttl(key) > 0:
                client.delete(key)
        yield many(3_000, 3.0, 2)

    with pytest.raises(OnlineStoreError, match="STAGELOST"):
        store.writer("churn").fill(batches())
    assert values(store, "c-1", "c-2") == [1, None]


def test_a_full_server_refuses_a_fill_and_serves_the_old_rows(store, client):
    store.writer("churn").fill([many(1_000, 1.0, 1)])
    with configured(client, maxmemory=int(client.info("memory")["used_memory"]) + 2_000_000):
        with pytest.raises(OnlineStoreError, match=r"OOM .*a fill needs room for the rows twice"):
            store.writer("churn").fill([[(f"d-{index}", b"x" * 1_000, 2.0) for index in range(20_000)]])
        assert values(store, "c-1", "d-1") == [1, None]
        assert len(list(client.scan_iter(PREFIX + "rows:*"))) == 1, "the rows of the fill are gone"


def test_a_server_that_removes_keys_when_it_is_full_is_refused(store, client):
    with (
        configured(client, maxmemory="1gb", **{"maxmemory-policy": "allkeys-lru"}),
        pytest.raises(OnlineStoreError, match=r"maxmemory-policy allkeys-lru.*set maxmemory-policy noeviction"),
    ):
        store.writer("churn").fill([[row("c-1")]])
    assert store.writer("churn").fill([[row("c-1")]]) == Filled(1)


def test_a_replica_is_read_and_not_written(store, client):
    store.writer("churn").fill([[row("c-1", value=1)]])
    client.execute_command("CONFIG", "SET", "replica-serve-stale-data", "yes")
    client.execute_command("REPLICAOF", "127.0.0.1", "1")
    try:
        assert values(store, "c-1") == [1]
        for write in (lambda w: w.fill([[row("c-2")]]), lambda w: w.delete("c-1", 1.0), lambda w: w.expire(1.0)):
            with pytest.raises(OnlineStoreError, match=r"READONLY.*name the master"):
                write(store.writer("churn"))
    finally:
        client.execute_command("REPLICAOF", "NO", "ONE")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda url: url.replace(PASSWORD, "s3cret"), "WRONGPASS .*correct user and password"),
        (lambda url: url.replace(f":{PASSWORD}@", ""), "NOAUTH .*name user and password"),
        (lambda url: url.replace("//:", "//nobody:"), "WRONGPASS"),
        (lambda url: url.replace("/0", "/99999"), "DB index is out of range"),
        (lambda url: "redis://127.0.0.1:1", "check that Redis or Valkey runs"),
        (lambda url: "redis://no-such-host.invalid", "check that Redis or Valkey runs"),
        (lambda url: url.replace("redis:", "rediss:"), "cannot be (read|written|used)"),
        (lambda url: url.replace("redis:", "rediss:") + "?ssl_ca_certs=/none", "certificates .*ssl_ca_certs"),
    ],
)
def test_a_server_that_cannot_be_used_is_told_with_the_remedy_and_without_the_password(
    redis_server, tmp_path, monkeypatch, change, expected
):
    monkeypatch.setattr(connection, "CONNECT_TIMEOUT_S", 0.3)  # a server without TLS does not answer to TLS
    store = RedisStore(parse_store_url(change(redis_server.url)), tmp_path)
    for use in (
        lambda: store.writer("churn").fill([[row("c-1")]]),
        lambda: store.reader("churn").get("c-1"),
        store.endpoints,
        lambda: store.deletions().of("churn"),
    ):
        with pytest.raises(OnlineStoreError, match=expected) as caught:
            use()
        assert PASSWORD not in str(caught.value)
        assert "s3cret" not in str(caught.value)


def test_a_frozen_server_is_given_up(store, redis_server, monkeypatch):
    writer = store.writer("churn")
    writer.fill([[row("c-1", value=1)]])
    monkeypatch.setattr(connection, "CONNECT_TIMEOUT_S", 0.2)
    monkeypatch.setattr(connection, "REPLY_TIMEOUT_S", 0.2)
    monkeypatch.setattr(writer_module, "_LOCK_MS", 300)
    other = store.writer("churn")
    other.expire(0.0)
    redis_server.freeze()
    try:
        for each in (other, store.writer("churn")):
            with pytest.raises(OnlineStoreError, match="no answer in time"):
                each.expire(0.0)
    finally:
        redis_server.thaw()
    assert other.expire(0.0) == 0
    assert values(store, "c-1") == [1]


def test_a_server_that_was_killed_comes_back_with_its_rows(store, redis_server):
    writer, reader = store.writer("churn"), store.reader("churn")
    writer.fill([[row("c-1", value=1)]])
    writer.delete("c-2", 5.0)
    redis_server.kill()
    for use in (lambda: writer.fill([[row("c-1")]]), lambda: reader.get("c-1")):
        with pytest.raises(OnlineStoreError, match="the online store redis://127"):
            use()
    redis_server.start()
    assert reader.get("c-1") == b'{"minutes":1}'
    assert store.deletions().of("churn") == {"c-2": 5.0}
    assert writer.fill([[row("c-1", 2.0, 2), row("c-2")]]) == Filled(1, 1)
    reader.close()


def test_keys_of_others_are_told(store, client):
    client.set(PREFIX + "layers", "something else")
    for use in (lambda: store.reader("churn").get("c-1"), lambda: store.writer("churn").fill([[row("c-1")]])):
        with pytest.raises(OnlineStoreError, match="values that are not of Divisions"):
            use()
    client.delete(PREFIX + "layers")
    client.set(PREFIX + "deleted", "x")
    with pytest.raises(OnlineStoreError, match="WRONGTYPE"):
        store.writer("churn").fill([[row("c-1")]])


def test_a_deletion_that_only_one_host_knows_reaches_redis_and_one_that_was_taken_back_leaves_the_copies(
    store, client, redis_server, tmp_path
):
    here, there = store, RedisStore(store.address, tmp_path / "other")
    here.writer("churn").fill([[row("c-1"), row("c-2")]])
    here.writer("churn").delete("c-1", 1.0)
    assert there.writer("churn").fill([[row("c-1", 2.0)]]) == Filled(0, 1), "that host has a copy now"
    assert there.deletions().remove("churn", "c-1")
    assert here.writer("churn").fill([[row("c-1", 3.0)]]) == Filled(1), "Redis goes before this host's copy"
    redis_server.flush()
    assert here.deletions().of("churn") == {}, "the fill has brought the copy up to date"
    here.writer("churn").delete("c-2", 4.0)
    redis_server.flush()
    assert here.writer("churn").fill([[row("c-2", 5.0)]]) == Filled(0, 1)
    assert there.writer("churn").fill([[row("c-2", 6.0)]]) == Filled(0, 1)
