import os
import socket

import pytest

from deploy.supervision import ports
from divisions.errors import PortInUseError, SettingsError


def listener(*, is_shared: bool = False) -> socket.socket:
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as every server does
    if is_shared:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    server.bind(("127.0.0.1", 0))
    server.listen()
    return server


def test_a_free_port_is_free_and_stays_free():
    (port,) = ports.choose_free(1)
    ports.require_free("127.0.0.1", port, "a test", "try another")
    ports.require_free("127.0.0.1", port, "a test", "try another")


@pytest.mark.parametrize("is_shared", [False, True])
def test_a_port_in_use_is_refused_even_if_its_owner_would_share_it(is_shared):
    with listener(is_shared=is_shared) as server:
        port = server.getsockname()[1]
        with pytest.raises(PortInUseError, match=f"127.0.0.1:{port} for the gateway") as caught:
            ports.require_free("127.0.0.1", port, "the gateway", "choose another with --port")
    assert "choose another with --port" in str(caught.value)
    assert f"pid {os.getpid()}" in str(caught.value)


def test_a_port_with_connections_in_time_wait_is_free():
    server = listener()
    port = server.getsockname()[1]
    client = socket.create_connection(("127.0.0.1", port))
    connection, _ = server.accept()
    connection.close()  # the side that closes first stays in TIME_WAIT
    client.close()
    server.close()
    ports.require_free("127.0.0.1", port, "the gateway", "wait")


def test_an_address_of_another_machine_is_refused():
    for host in ("192.0.2.77", "no-such-host.invalid"):
        with pytest.raises(PortInUseError, match=f"cannot listen on {host}.*set DIVISIONS_HOST"):
            ports.require_free(host, 8000, "the gateway", "choose another with --port")


def test_chosen_ports_differ():
    chosen = ports.choose_free(20)
    assert len(set(chosen)) == 20


def test_a_free_port_has_no_listener():
    (port,) = ports.choose_free(1)
    assert ports.describe_listener(port) == ""


def test_two_purposes_with_the_same_port_are_refused_and_named():
    ports.require_distinct({"the gateway": 1, "the dashboard": 2, "the head": 3})
    with pytest.raises(SettingsError, match="the gateway and the head cannot both have port 8000"):
        ports.require_distinct({"the gateway": 8000, "the dashboard": 8265, "the head": 8000})
