"""Vital processes of a running cluster are killed: it serves again by itself, and still ends when it is told to."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from deploy.supervision import cluster_file
from deploy.supervision.processes import wait_until
from tests.e2e.homes import PIPELINE, Home, answer

pytestmark = pytest.mark.e2e

PATIENCE_S = 240.0
"""Generous: a quiet machine takes about 15 s."""


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    home = Home(tmp_path / "home")
    yield home
    if home.cluster() is not None:
        home.run("down")


def kill(home: Home, name: str, number: signal.Signals = signal.SIGKILL) -> None:
    (process,) = [it for it in psutil.Process(home.cluster().pid).children(recursive=True) if it.name() == name]
    os.kill(process.pid, number)


def wait_for(home: Home, phase: str, restarts: int) -> None:
    def is_there() -> bool:
        cluster = home.cluster()
        return cluster is not None and (cluster.phase, cluster.restarts) == (phase, restarts)

    if not wait_until(is_there, PATIENCE_S):
        log = (home.path / "logs" / "ray.log").read_text(errors="replace")
        raise AssertionError(f"not {phase} after restart {restarts}: {home.cluster()}\n{log[-6000:]}")


def answers(url: str, body: object) -> bool:
    try:
        return answer(url, body, [("content-type", "application/json")])[0] == 200
    except OSError:
        return False


def test_a_killed_gcs_or_raylet_comes_back_with_the_version_and_ctrl_c_ends_a_restart(home, tmp_path):
    home.take_over_old()  # it serves a version, so that none must be trained
    pipeline = tmp_path / "pipeline.yaml"
    pipeline.write_text(PIPELINE)
    foreground, lines = home.serve(pipeline)
    url, body = re.search(r"curl -s (\S+) .* -d '(.*)'", "".join(lines)).groups()
    request = json.loads(body)
    assert answers(url, request)
    supervisor = home.cluster().pid
    for restarts, (name, number) in enumerate(
        [("gcs_server", signal.SIGKILL), ("raylet", signal.SIGKILL), ("raylet", signal.SIGTERM)], start=1
    ):
        kill(home, name, number)
        wait_for(home, cluster_file.UP, restarts)
        assert wait_until(lambda: answers(url, request), PATIENCE_S), f"no answer after {name} was killed"
        assert name in home.cluster().message
        assert home.cluster().pid == supervisor
    status = home.run("status")
    assert status.returncode == 0, status.stderr
    assert "raylet" in status.stderr
    kill(home, "gcs_server")
    wait_for(home, cluster_file.RESTARTING, 4)
    foreground.send_signal(signal.SIGINT)
    rest, _ = foreground.communicate(timeout=PATIENCE_S)
    assert foreground.returncode == 0, rest
    assert rest.count("the cluster serves again") == 3
    assert home.processes(supervisor) == []
    assert home.cluster() is None


def test_down_ends_a_restart_in_the_background(home):
    assert home.run("up").returncode == 0
    supervisor = home.cluster().pid
    kill(home, "raylet")
    wait_for(home, cluster_file.RESTARTING, 1)
    refused = home.run("status")
    assert refused.returncode == 1
    assert re.search(r"is restarting.*raylet was killed by SIGKILL", refused.stderr), refused.stderr
    assert "divisions up" not in refused.stderr
    stopped = home.run("down")
    assert stopped.returncode == 0, stopped.stderr
    assert home.processes(supervisor) == []
    assert home.cluster() is None
