"""A gateway that is not one, and a client of it."""

import threading

import pytest

from divisions import Client
from tests.divisions.sdk.fake_gateway import Gateway


@pytest.fixture
def gateway():
    gateway = Gateway()
    thread = threading.Thread(target=gateway.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield gateway
    gateway.server.shutdown()
    thread.join()
    gateway.server.server_close()


@pytest.fixture
def client(gateway, tmp_path):
    (tmp_path / "token").write_text("secret\n")
    with Client(gateway.url, home=tmp_path) as client:
        yield client
