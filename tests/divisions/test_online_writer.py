"""Writing the online store: whole transactions, deleted customers stay away, old rows leave."""

import json
import os
import signal
import subprocess
import sys

import pytest

from divisions.deletions import Deletions, deletions_path
from divisions.online_store import OnlineStoreReader, online_store_path
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
