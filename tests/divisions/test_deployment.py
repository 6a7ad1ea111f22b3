"""What a node keeps of a deployment, and the settings that a process on it gets."""

from __future__ import annotations

import os
import threading

import pytest

from divisions.code_identity import code_identity, digest_of
from divisions.deployment import (
    NAME,
    Deployment,
    deployment_of,
    enter_node,
    read_deployment,
    read_secrets,
    write_node,
    write_private,
)
from divisions.errors import ClusterError
from divisions.settings import S3Settings, Settings, load_settings

SECRETS = {"token": b"control", "channel_token": b"channel"}


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in [name for name in os.environ if name.startswith(("DIVISIONS_", "AWS_", "RAY_"))]:
        monkeypatch.delenv(name)
    before = dict(os.environ)
    yield monkeypatch
    os.environ.clear()
    os.environ.update(before)


def test_a_node_has_its_own_home_and_all_else_of_the_deployer(environment, tmp_path):
    deployer = Settings(
        home=tmp_path / "theirs", port=8123, host="", node_host="10.0.0.1", gateway="http://theirs",
        allow_buckets=("a", "b"), s3=S3Settings(endpoint_url="http://s3", access_key="key", secret_key="secret"),
    )  # fmt: skip
    own = tmp_path / "own"
    write_node(own, deployment_of(deployer, "10.0.0.1"), SECRETS)
    environment.setenv("DIVISIONS_HOME", str(own))
    environment.setenv("DIVISIONS_NODE_HOST", "10.0.0.2")
    environment.setenv("DIVISIONS_PORT", "1")
    found = enter_node(str(deployer.home))
    assert (found.home, found.node_host, found.gateway) == (own, "10.0.0.2", "")
    assert (found.port, found.host, found.allow_buckets, found.s3) == (8123, "", ("a", "b"), deployer.s3)
    assert load_settings() == found, "children read the same"
    assert read_secrets(own) == SECRETS
    assert {path.stat().st_mode & 0o777 for path in own.iterdir()} == {0o600}


def test_a_node_without_a_home_of_its_own_has_the_same_path(tmp_path):
    write_node(tmp_path, deployment_of(Settings(home=tmp_path)), {})
    assert enter_node(str(tmp_path)).home == tmp_path


def test_an_actor_waits_for_its_node_to_be_prepared(tmp_path):
    deployment = deployment_of(Settings(home=tmp_path, port=8123))
    other = deployment_of(Settings(home=tmp_path, port=8124))
    assert deployment.stamp != other.stamp
    write_node(tmp_path, other, {})
    timer = threading.Timer(0.3, write_node, (tmp_path, deployment, {}))
    timer.start()
    assert enter_node(str(tmp_path), deployment.stamp, wait_s=30.0).port == 8123
    assert enter_node(str(tmp_path), other.stamp, wait_s=0.0).port == 8123, "late: it takes what is there"
    (tmp_path / NAME).unlink()
    with pytest.raises(ClusterError, match="was not prepared"):
        enter_node(str(tmp_path), deployment.stamp, wait_s=0.0)


def test_without_a_deployment_a_process_keeps_its_settings(environment, tmp_path):
    environment.setenv("DIVISIONS_PORT", "8123")
    assert enter_node(str(tmp_path)) == Settings(home=tmp_path, port=8123)


@pytest.mark.parametrize("content", [b"", b"{", b'{"code": 1}'])
def test_a_damaged_deployment_is_none(tmp_path, content):
    (tmp_path / NAME).write_bytes(content)
    assert read_deployment(tmp_path) is None


def test_a_journal_of_one_machine_pins_the_controller(tmp_path):
    assert deployment_of(Settings(home=tmp_path), "10.0.0.1").pin == "10.0.0.1"
    shared = Settings(home=tmp_path, database="postgresql+psycopg://u:p@db/divisions")
    assert deployment_of(shared, "10.0.0.1").pin == ""


def test_a_secret_that_others_could_read_is_written_anew(tmp_path):
    path = tmp_path / "token"
    path.write_bytes(b"same")
    path.chmod(0o644)
    write_private(path, b"same")
    assert path.stat().st_mode & 0o777 == 0o600
    inode = path.stat().st_ino
    write_private(path, b"same")
    assert path.stat().st_ino == inode, "nothing to do"


def test_a_home_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ClusterError, match="cannot be written") as caught:
        write_node(tmp_path / "file" / "home", Deployment("", "", {}), {})
    assert "DIVISIONS_HOME" in caught.value.remedy


def test_the_digest_changes_with_a_line_a_name_and_a_folder(tmp_path):
    one = tmp_path / "one"
    (one / "_native").mkdir(parents=True)
    (one / "a.py").write_text("x = 1\n")
    first = digest_of([("one", one)])
    (one / "_native" / "b.py").touch()
    (one / "b.pyc").touch()
    assert digest_of([("one", one)]) == first, "what is built is not the source"
    assert digest_of([("two", one)]) != first
    (one / "a.py").write_text("x = 2\n")
    second = digest_of([("one", one)])
    (one / "a.py").rename(one / "c.py")
    assert len({first, second, digest_of([("one", one)])}) == 3
    assert code_identity().startswith("0.1.0 (")
