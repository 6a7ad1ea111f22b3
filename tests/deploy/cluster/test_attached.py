"""Where `up --address` may deploy: addresses, nodes on this machine, and homes that have another cluster."""

from __future__ import annotations

import io
import os
import socket

import pytest

from deploy.cluster import attached
from deploy.supervision.cluster_file import ATTACHED, JOINED, UP, Cluster, read_cluster, write_cluster
from deploy.supervision.local_raylets import LocalRaylet
from deploy.supervision.processes import start_ticks
from divisions.clock import ManualClock
from divisions.errors import AlreadyRunningError, NotRunningError, UsageError
from divisions.progress import LineProgress
from divisions.settings import Settings


@pytest.fixture
def head():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield f"127.0.0.1:{server.getsockname()[1]}"


def raylets(monkeypatch, *found):
    monkeypatch.setattr(attached, "find_local_raylets", lambda: list(found))


@pytest.mark.parametrize("text", ["ray://head:10001", "http://head:8265", ":6379", "head:", "head:0", "head:70000"])
def test_what_is_no_address_of_a_head_is_refused(text):
    with pytest.raises(UsageError):
        attached.canonical(text)


def test_nothing_at_the_address_is_said_before_ray_is_asked(monkeypatch, head):
    raylets(monkeypatch)
    with pytest.raises(NotRunningError, match=r"nothing answers at 127\.0\.0\.1:1,"):
        attached.node_here("127.0.0.1:1")
    with pytest.raises(NotRunningError, match=r"no node of the Ray cluster at .* runs on this machine") as caught:
        attached.node_here(head)
    assert "divisions join" in caught.value.remedy
    assert "DIVISIONS_GATEWAY" in caught.value.remedy


def test_the_node_of_this_machine_is_found_also_by_the_heads_name(monkeypatch, head):
    here, there = LocalRaylet(1, head, "127.0.0.1"), LocalRaylet(2, "10.0.0.1:6379", "127.0.0.2")
    raylets(monkeypatch, there, here)
    assert attached.node_here(head) == here
    assert attached.node_here(f"localhost:{head.rpartition(':')[2]}") == here
    with pytest.raises(NotRunningError, match="name one"):
        attached.node_here("auto")
    raylets(monkeypatch, here)
    assert attached.node_here("auto") == here
    raylets(monkeypatch, there)
    with pytest.raises(NotRunningError, match=r"there is one of 10\.0\.0\.1:6379"):
        attached.node_here(head)


def known(home, address):
    cluster = Cluster(1, 1, UP, address, "", "http://gateway", 1, "", 0.0, kind=ATTACHED, node_host="127.0.0.1")
    write_cluster(home, cluster)
    return cluster


def test_a_home_that_is_deployed_elsewhere_is_refused(monkeypatch, tmp_path, head):
    raylets(monkeypatch, LocalRaylet(1, head, "127.0.0.1"))
    known(tmp_path, "10.0.0.1:6379")
    with pytest.raises(AlreadyRunningError, match=r"is deployed on the Ray cluster at 10\.0\.0\.1:6379"):
        attached.up(Settings(home=tmp_path), head, LineProgress(io.StringIO()), ManualClock())
    assert read_cluster(tmp_path).ray_address == "10.0.0.1:6379"


def test_the_home_of_a_machine_that_has_joined_is_refused_with_what_to_do(monkeypatch, tmp_path, head):
    raylets(monkeypatch, LocalRaylet(1, head, "127.0.0.1"))
    ticks = start_ticks(os.getpid())
    write_cluster(
        tmp_path, Cluster(os.getpid(), ticks, UP, head, "", "http://gateway", 1, "", 0.0, kind=JOINED, node_host="h")
    )
    with pytest.raises(AlreadyRunningError, match="keeps this machine's node of the Ray cluster at") as caught:
        attached.up(Settings(home=tmp_path), head, LineProgress(io.StringIO()), ManualClock())
    assert f"RAY_AUTH_TOKEN_PATH to {tmp_path / 'ray_token'}" in caught.value.remedy
    assert read_cluster(tmp_path).kind == JOINED


def test_a_cluster_that_has_gone_is_forgotten_with_what_to_do_if_it_comes_back(tmp_path):
    cluster = known(tmp_path, "127.0.0.1:1")
    with pytest.raises(NotRunningError, match="it is forgotten") as caught:
        attached.down(Settings(home=tmp_path), cluster, LineProgress(io.StringIO()), ManualClock())
    assert "divisions down --address 127.0.0.1:1" in caught.value.remedy
    assert read_cluster(tmp_path) is None
