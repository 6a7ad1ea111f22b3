"""The embedded cluster with real processes: up, refusals, down; a first run that trains, and a second one."""

import ipaddress
import json
import os
import re
import shutil
import signal

import psutil
import pytest

from deploy.supervision.processes import is_alive, wait_until
from divisions.settings import runtime_dir
from tests.e2e.homes import PIPELINE, Home, answer

pytestmark = pytest.mark.e2e


@pytest.fixture
def home(tmp_path):
    home = Home(tmp_path / "home")
    yield home
    if home.cluster() is not None:
        home.run("down")


def listeners(pids: list[int]) -> dict[int, bool]:
    """Ports that the processes listen on, and whether only on the loopback interface."""
    found = {}
    for connection in psutil.net_connections("tcp"):
        if connection.status == psutil.CONN_LISTEN and connection.pid in pids:
            address = ipaddress.ip_address(connection.laddr.ip)
            found[connection.laddr.port] = (getattr(address, "ipv4_mapped", None) or address).is_loopback
    return found


def assert_no_open_port_answers_without_the_token(home):
    """Ray Serve's replicas accept pickled calls on all interfaces: such a call could run any code."""
    import grpc
    from ray.serve.generated.serve_pb2 import ASGIRequest
    from ray.serve.generated.serve_pb2_grpc import ASGIServiceStub

    ports = listeners(home.processes(home.cluster().pid))
    assert ports[int(home.environment["DIVISIONS_PORT"])]
    assert ports[int(home.environment["DIVISIONS_GCS_PORT"])]
    assert ports[int(home.environment["DIVISIONS_DASHBOARD_PORT"])]
    for port in (port for port, is_loopback in ports.items() if not is_loopback):
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub = ASGIServiceStub(channel)
            for call in (stub.HandleRequest, stub.HandleRequestWithRejection):
                with pytest.raises(grpc.RpcError) as caught:
                    call(ASGIRequest(pickled_request_metadata=b"x"), timeout=60)
                assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


def assert_no_secret_is_told(home):
    for name in ("token", "channel_token", "ray_token"):
        secret = (home.path / name).read_bytes()
        logs = [*(home.path / "logs").rglob("*"), *(runtime_dir(home.path) / "ray" / "session_latest").rglob("*")]
        assert [log for log in logs if log.is_file() and secret in log.read_bytes()] == []
        assert secret not in answer(f"{home.url}/metrics")[1]


def test_up_starts_all_or_nothing_behind_its_token_and_down_leaves_nothing(home, tmp_path):
    started = home.run("up", "--output", "json")
    assert started.returncode == 0, started.stderr
    cluster = home.cluster()
    assert json.loads(started.stdout)["pid"] == cluster.pid
    assert answer(f"{home.url}/healthz")[0] == 200
    # Ray's job server runs any code, so it asks for the cluster's token.
    assert answer(f"{cluster.dashboard_url}/api/jobs/")[0] == 401

    assert_no_open_port_answers_without_the_token(home)
    assert_no_secret_is_told(home)

    second = home.run("up")
    assert second.returncode == 1
    assert f"is up (pid {cluster.pid}" in second.stderr
    assert "divisions down" in second.stderr

    other = Home(tmp_path / "other")
    taken = other.run("up", "--port", home.environment["DIVISIONS_PORT"])
    assert taken.returncode == 1
    assert re.fullmatch(r"error: cannot listen on 127\.0\.0\.1:\d+ for the gateway.*--port.*\n", taken.stderr)
    assert other.cluster() is None
    assert other.processes() == []

    assert home.run("status").returncode == 0
    stopped = home.run("down")
    assert stopped.returncode == 0, stopped.stderr
    assert home.processes(cluster.pid) == []
    assert home.cluster() is None
    assert not runtime_dir(home.path).exists()
    again = home.run("down")
    assert again.returncode == 1
    assert "divisions up" in again.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_while_starting_leaves_nothing(home, number):
    starting = home.start("up")
    assert wait_until(lambda: home.cluster() is not None, 180.0)
    session = home.cluster().pid
    starting.send_signal(number)
    story, _ = starting.communicate(timeout=180)
    assert starting.returncode == 130, story
    assert home.processes(session) == []
    assert home.cluster() is None


def test_the_first_run_trains_and_serves_and_the_next_serves_again_from_another_path(home, tmp_path):
    pipeline = tmp_path / "pipeline.yaml"
    pipeline.write_text(PIPELINE)
    for turn in range(2):
        if turn:
            move(home)
        foreground, lines = home.serve(pipeline)
        story = "".join(lines)
        assert ("nothing is registered yet" in story) == (turn == 0)
        assert f"Page       {home.url}/ " in story
        assert (home.path / "token").read_text().strip() not in story
        curls = [line.strip() for line in lines if line.strip().startswith("curl ")]
        assert len(curls) == 2, story
        for curl in curls:
            url, body = re.fullmatch(r"curl -s (\S+) .* -d '(.*)'", curl).groups()
            status, data = answer(url, json.loads(body), [("content-type", "application/json")])
            assert status == 200, data
            assert 0.0 < json.loads(data)["churn_probability"] < 1.0
        open_to_others = [
            path for path in home.path.rglob("*") if path.lstat().st_mode & 0o077 and not path.is_symlink()
        ]
        assert open_to_others == []
        session, ticks = home.cluster().pid, home.cluster().start_ticks
        if turn == 0:
            foreground.send_signal(signal.SIGINT)
            foreground.send_signal(signal.SIGINT)
            foreground.communicate(timeout=180)
            assert foreground.returncode == 0
            assert home.processes(session) == []
            assert home.cluster() is None
        else:
            foreground.kill()
            foreground.communicate(timeout=60)
            assert wait_until(lambda session=session: not home.processes(session), 120.0)
            assert not is_alive(session, ticks)
    shutil.rmtree(home.path / "bundles")
    started = home.run("up")
    assert started.returncode == 1
    assert "curl" not in started.stdout
    assert re.search(r"churn is not served: the bundle of .* is not at .*restore", started.stderr), started.stderr
    assert wait_until(lambda: re.search(r"Failing[\s\S]*there is no bundle", home.run("status").stdout), 180.0)


def move(home):
    moved = home.path.with_name("moved")
    home.path.rename(moved)
    home.environment["DIVISIONS_HOME"] = str(moved)
    home.path = moved


def test_a_home_of_an_earlier_release_serves_and_down_cleans_up_after_a_killed_supervisor(home):
    home.take_over_old()
    started = home.run("up")
    assert started.returncode == 0, started.stderr
    assert_serves(home)
    version = json.loads(home.run("models", "show", "churn-predictor", "3.1", "--output", "json").stdout)
    assert version["bundle_path"].startswith("/tmp/oldhome/"), "the record is still the old one"

    cluster = home.cluster()
    os.kill(cluster.pid, signal.SIGKILL)
    assert wait_until(lambda: not cluster.is_alive, 60.0)
    stopped = home.run("down")
    assert stopped.returncode == 0
    assert "had ended already" in stopped.stdout
    assert home.processes(cluster.pid) == []
    assert home.cluster() is None


def assert_serves(home):
    url = f"{home.url}/api/v2/predict/churn"
    status, data = answer(url, {"customer_id": "c-1"}, [("content-type", "application/json")])
    assert status == 200, data
    assert 0.0 < json.loads(data)["churn_probability"] < 1.0
