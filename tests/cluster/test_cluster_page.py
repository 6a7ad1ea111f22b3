"""The commands of docs/cluster.md, as they stand there, on machines that have nothing yet; and what is refused."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import time
from collections.abc import Callable, Mapping

from tests.cluster.network import ROOT, Host, Network, wait_until
from tests.cluster.product import PIPELINE
from tests.cluster.services import BUCKET, Services
from tests.e2e import s3_server
from trainers.demo_data import FIRST_DAY, write_demo_data

PAGE = ROOT / "docs" / "cluster.md"
LINE = re.compile(r"^(one|two|three|client)\$ divisions (.+)$", re.MULTILINE)
HOME = "/root/.divisions/state"
GATEWAY = "http://{}:8000"


def nodes(host: Host) -> dict[str, dict]:
    answer = json.loads(host.divisions("status", "--output", "json").stdout)
    # A node that was refused or has left, and has come again, has two rows for a while; the one in use counts.
    rows = sorted(answer["nodes"], key=lambda node: node["state"] == "alive")
    return {node["address"]: node for node in rows}


def rays(host: Host) -> list[str]:
    """The names of Ray's processes on a host."""
    names = host.run("sh", "-c", "cat /proc/[0-9]*/comm", check=False).stdout.split()
    return [name for name in names if name.startswith(("ray", "gcs_server"))]


def test_the_ten_commands_of_the_page_make_a_cluster_of_three_machines_and_end_it(
    network: Network, services: Services, tmp_path
):
    hosts = {name: network.host(f"bare-{name}") for name in ("one", "two", "three", "client")}
    one, two, three, client = hosts.values()
    write_events(services, tmp_path)
    one.environment |= services.environment_of("bare")
    client.environment |= services.environment_of("bare")
    client.disk("/root/pipeline.yaml").write_text(
        PIPELINE.replace("MIN_DWELL", "3").replace("replicas: 3", "replicas: 2")
    )
    after: Mapping[int, Callable[[], None]] = {  # what is checked after a command, by its place on the page
        0: lambda: up_is_done(one, two, three),
        2: lambda: all_have_joined(one, two, three),
        3: lambda: use_from(client, one, two),
        6: lambda: a_crash_of_ray_is_mended(one, two),
        7: lambda: has_left(one, three),
    }
    commands = LINE.findall(PAGE.read_text())
    assert len(commands) == 10
    try:
        for number, (name, line) in enumerate(commands):
            for of, host in enumerate((one, two, three), start=1):
                line = line.replace(f"10.0.0.{of}", host.address)  # noqa: PLW2901
            begun_s = time.monotonic()
            done = hosts[name].divisions(*shlex.split(line))
            print(f"{time.monotonic() - begun_s:5.1f} s  {name}$ divisions {line}", flush=True)
            if (name, line) == ("client", "status"):
                assert "churn-predictor" in done.stdout
            after.get(number, lambda: None)()
        for host in (one, two, three):
            assert rays(host) == [], "nothing is left"
    finally:
        for host in hosts.values():
            host.kill()


def write_events(services: Services, folder) -> None:
    data = write_demo_data(folder)
    bucket = s3_server.client_of(services.environment["AWS_ENDPOINT_URL"])
    for path in data.partitions[FIRST_DAY].iterdir():
        bucket.upload_file(str(path), BUCKET, f"raw/{path.parent.name}/{path.name}")


def up_is_done(one: Host, two: Host, three: Host) -> None:
    """What `join` refuses before it has its token, or with other code."""
    target = f"{one.address}:6479"
    refused = two.divisions("join", target, check=False)
    assert refused.returncode == 1, "it has no token"
    assert "asks for a token, and we have none" in refused.stderr, refused.stderr
    two.disk("/root/wrong").write_text("0" * 64)
    refused = two.divisions("join", target, "--token-file", "/root/wrong", check=False)
    assert refused.returncode == 1
    assert "refuses our token" in refused.stderr, refused.stderr
    assert not two.disk(f"{HOME}/cluster.json").exists()
    for host in (two, three):
        shutil.copy(one.disk(f"{HOME}/ray_token"), host.disk("/root/ray_token"))
    other = two.disk("/root/other")
    for package in ("divisions", "serving", "router", "trainers", "deploy"):
        shutil.copytree(ROOT / package, other / package, ignore=shutil.ignore_patterns("__pycache__", "_native"))
    (other / "router" / "another.py").touch()
    refused = two.divisions("join", target, "--token-file", "/root/ray_token", check=False, PYTHONPATH="/root/other")
    assert refused.returncode == 1
    assert f"{two.address} (bare-two) has divisions 0.1.0 (" in refused.stderr, refused.stderr
    assert "the cluster has 0.1.0 (" in refused.stderr


def all_have_joined(one: Host, two: Host, three: Host) -> None:
    mine = nodes(two)
    for host in (one, two, three):
        assert (mine[host.address]["state"], mine[host.address]["gateways"]) == ("alive", 1)
        assert mine[host.address]["gateway"] == GATEWAY.format(host.address)
        for name in ("token", "channel_token", "ray_token"):
            copied = host.disk(f"{HOME}/{name}")
            assert copied.read_text().strip() == one.disk(f"{HOME}/{name}").read_text().strip()
            assert copied.stat().st_mode & 0o777 == 0o600
    for client, server in ((one, two), (two, three), (three, one)):
        healthy = client.run("curl", "-sf", f"{GATEWAY.format(server.address)}/healthz", check=False)
        assert healthy.returncode == 0, healthy.stderr


def use_from(client: Host, one: Host, two: Host) -> None:
    client.environment["DIVISIONS_TOKEN"] = one.disk(f"{HOME}/token").read_text().strip()
    client.environment["DIVISIONS_GATEWAY"] = GATEWAY.format(two.address)


def has_left(one: Host, three: Host) -> None:
    assert rays(three) == []
    wait_until(lambda: nodes(one)[three.address]["state"] == "lost", "it is known to have left")


def a_crash_of_ray_is_mended(one: Host, two: Host) -> None:
    """A node whose raylet has ended, as it does when the head has given it up, comes back by itself."""
    before = nodes(one)[two.address]["node_id"]
    two.run("pkill", "-9", "-x", "raylet")

    def is_back() -> bool:
        now = nodes(one)[two.address]
        return (now["state"], now["gateways"]) == ("alive", 1) and now["node_id"] != before

    print(f"a node is back {wait_until(is_back, 'the node is back', 240):.1f} s after its raylet was killed")
