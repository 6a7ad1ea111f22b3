"""Who trains, as a gateway says; a run goes on where none does."""

import threading

import pytest

from divisions.settings import Settings
from tests.divisions.sdk.fake_gateway import Gateway
from trainers.stages.trainer import trainer_of


@pytest.fixture
def gateway():
    it = Gateway()
    thread = threading.Thread(target=it.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield it
    it.server.shutdown()
    thread.join()
    it.server.server_close()


def test_the_gateway_says_whose_token_the_run_has(gateway, tmp_path, monkeypatch):
    monkeypatch.setenv("DIVISIONS_TOKEN", "dvn_x")
    gateway.will_answer({"name": "corp:tim", "role": "trainer"})
    assert trainer_of(Settings(home=tmp_path, gateway=gateway.url)) == "corp:tim"
    ((method, path, headers, _),) = gateway.requests
    assert (method, path, headers["authorization"]) == ("GET", "/api/v2/tokens/self", "Bearer dvn_x")


@pytest.mark.parametrize(("status", "answer"), [(401, {"detail": "no"}), (403, {"detail": "no"}), (200, ["x"])])
def test_a_gateway_that_does_not_say_stops_no_run(gateway, tmp_path, status, answer):
    gateway.will_answer(answer, status)
    assert trainer_of(Settings(home=tmp_path), gateway.url) == ""


def test_nobody_is_asked_where_there_is_no_gateway(tmp_path):
    assert trainer_of(Settings(home=tmp_path)) == ""
    assert trainer_of(Settings(home=tmp_path), "http://127.0.0.1:9") == ""
