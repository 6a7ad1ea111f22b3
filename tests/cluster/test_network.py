"""The hosts behave as machines do: only the network and the code are shared."""

from __future__ import annotations

import sys

import psycopg
import pytest
import redis

from tests import servers
from tests.cluster import services as shared
from tests.cluster.network import Host, Network, wait_until
from tests.cluster.services import Services
from tests.e2e import s3_server

CONNECT = """
import socket, sys
probe = socket.socket()
probe.settimeout(3)
try:
    probe.connect((sys.argv[1], 9))
except ConnectionRefusedError:
    print("seen")
except OSError:  # no answer, or no route once nobody answers to the address
    print("not seen")
"""


def sees(one: Host, other: Host) -> bool:
    answer = one.run(sys.executable, "-c", CONNECT, other.address).stdout.strip()
    assert answer in {"seen", "not seen"}
    return answer == "seen"


@pytest.fixture
def one(network: Network) -> Host:
    return network.host("one")


@pytest.fixture
def two(network: Network) -> Host:
    return network.host("two")


@pytest.fixture(autouse=True)
def whole_again(network: Network):
    yield
    network.mend_all()


def test_hosts_share_no_path_but_read_only_code(one: Host, two: Host):
    for path in ("/tmp/mine", "/var/tmp/mine", "/root/mine", "/dev/shm/mine"):
        one.run("touch", path)
        assert one.run("ls", path).stdout.strip() == path
        assert two.run("ls", path, check=False).returncode != 0
    assert one.disk("/root/mine").exists()
    for path in ("/mine", "/etc/mine", f"{shared.__file__}.mine"):
        assert "Read-only" in one.run("touch", path, check=False).stderr


def test_hosts_see_only_their_own_processes_and_their_own_loopback(one: Host, two: Host):
    two.spawn("sleep", "1234")
    wait_until(lambda: "sleep 1234" in two.run("ps", "ax").stdout, "a process of its own")
    assert "sleep 1234" not in one.run("ps", "ax").stdout
    assert one.run("hostname").stdout == "one\n"
    assert sees(one, two)


def test_a_pair_that_is_cut_still_sees_a_third(network: Network, one: Host, two: Host):
    three = network.host("three")
    network.cut_pair(one, two)
    assert not sees(one, two)
    assert sees(one, three)
    assert sees(two, three)
    network.mend_pair(one, two)
    wait_until(lambda: sees(one, two), "the way is back")


def test_a_cut_host_sees_nobody_until_its_cable_is_mended(one: Host, two: Host):
    two.cut()
    assert not sees(one, two)
    assert not sees(two, one)
    two.mend()
    wait_until(lambda: sees(one, two), "the way is back")


def test_a_killed_host_comes_back_with_its_disk_and_address_but_without_its_memory(one: Host, two: Host):
    two.run("touch", "/root/kept", "/dev/shm/lost")
    two.spawn("sleep", "4321")
    before = two.address
    two.kill()
    assert not two.is_alive
    assert not sees(one, two)
    two.start()
    assert two.address == before
    wait_until(lambda: sees(one, two), "the way is back")
    assert "sleep 4321" not in two.run("ps", "ax").stdout
    assert "kept" in two.run("ls", "/root").stdout.split()
    assert two.run("ls", "/dev/shm").stdout == ""


def test_a_slow_host_still_answers(one: Host, two: Host):
    two.slow(200)
    wait_until(lambda: sees(one, two), "an answer")


def test_servers_answer_from_hosts_of_their_own(one: Host, services: Services):
    bucket = s3_server.client_of(services.environment["AWS_ENDPOINT_URL"]).head_bucket(Bucket=shared.BUCKET)
    assert bucket["ResponseMetadata"]["HTTPStatusCode"] == 200
    url = services.environment["DIVISIONS_ONLINE_STORE"]
    ping = "import redis, sys; print(redis.Redis.from_url(sys.argv[1]).ping())"
    assert one.run(sys.executable, "-c", ping, url).stdout == "True\n"


def test_redis_and_postgres_keep_their_data_over_a_loss_of_power(services: Services):
    dsn = servers.postgres_dsn(services.postgres.address, shared.POSTGRES_PORT)
    with psycopg.connect(dsn) as connection:
        connection.execute("CREATE TABLE kept (number INTEGER)")
    with redis.Redis(services.redis.address, shared.REDIS_PORT, password=servers.PASSWORD) as client:
        client.set("kept", 1)
    for host, start in ((services.postgres, shared.start_postgres), (services.redis, shared.start_redis)):
        host.kill()
        host.start()
        start(host)
    with psycopg.connect(dsn) as connection:
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (0,)
        connection.execute("DROP TABLE kept")
    with redis.Redis(services.redis.address, shared.REDIS_PORT, password=servers.PASSWORD) as client:
        assert client.delete("kept") == 1
