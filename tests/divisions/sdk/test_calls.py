"""The requests of the clients and how answers are read, without HTTP: bytes, statuses, errors, patience."""

from __future__ import annotations

import asyncio
import inspect

import msgspec
import pytest

from divisions import AsyncClient, Client, errors
from divisions.sdk import calls
from divisions.sdk.calls import Call, Watch, answer, command, get_rollout, get_status, list_rollouts
from divisions.sdk.peer import DEFAULT_URL, Peer
from divisions.settings import load_settings
from tests.builders import rollout_status

PREDICT = Call("POST", "/p", bytes, is_control=False)
CONTROL = Call("GET", "/c", bytes)
OF_PREDICT = {
    400: errors.MalformedRequestError,
    401: errors.AccessDeniedError,
    403: errors.AccessDeniedError,
    404: errors.UnknownEntityError,
    418: errors.RequestError,
    422: errors.InvalidFeaturesError,
    429: errors.LimitReachedError,
    502: errors.ReplicaFailedError,
    503: errors.OverloadedError,
    504: errors.DeadlineExceededError,
}
OF_CONTROL = {
    400: errors.UsageError,
    401: errors.AccessDeniedError,
    403: errors.AccessDeniedError,
    404: errors.UnknownVersionError,
    409: errors.ConflictError,
    412: errors.StaleGenerationError,
    418: errors.ClusterError,
    422: errors.RolloutError,
    502: errors.ClusterError,
    503: errors.NotRunningError,
    504: errors.DeadlineExceededError,
}


@pytest.mark.parametrize(("call", "table"), [(PREDICT, OF_PREDICT), (CONTROL, OF_CONTROL)])
def test_each_status_has_its_error(call, table):
    for status, kind in table.items():
        with pytest.raises(errors.DivisionsError, match="why") as caught:
            answer(call, status, {}, b'{"detail":"why"}')
        assert type(caught.value) is kind


@pytest.mark.parametrize(("status", "is_good"), [(199, False), (200, True), (299, True), (300, False)])
def test_two_hundred_and_more_are_answers(status, is_good):
    if is_good:
        assert answer(PREDICT, status, {}, b"body") == b"body"
        return
    with pytest.raises(errors.DivisionsError):
        answer(PREDICT, status, {}, b'{"title":"no"}')


def test_a_problem_without_words_names_the_request_and_the_status():
    for body in (b"", b"<html>", b'{"detail":""}', b"[]"):
        with pytest.raises(errors.ClusterError, match="POST /p was answered with status 418 and no explanation"):
            answer(PREDICT, 418, {}, body)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("3", 3.0), ("0.25", 0.25), ("999999", 999_999.0), ("1000000", 1.0), ("", 1.0), ("soon", 1.0), ("-1", 1.0)],
)
def test_a_shed_request_names_the_seconds_to_wait(text, seconds):
    with pytest.raises(errors.OverloadedError) as caught:
        answer(PREDICT, 503, {"retry-after": text}, b'{"detail":"busy"}')
    assert caught.value.retry_after_s == seconds
    assert errors.OverloadedError("busy").retry_after_s == 1.0


@pytest.mark.parametrize("patience", [0, 1, 3])
def test_a_watcher_survives_as_many_failures_in_a_row_as_its_patience(patience):
    watch = Watch(patience)
    failure = errors.NotRunningError("gone")
    for _ in range(2):
        watch.changed(rollout_status())
        for _ in range(patience):
            watch.failed(failure)
    with pytest.raises(errors.NotRunningError):
        watch.failed(failure)
    with pytest.raises(errors.NotRunningError):
        Watch(9).failed(failure)


def test_a_watcher_sees_each_change_once_and_the_end():
    watch = Watch(1)
    step = msgspec.structs.replace(rollout_status(), phase="STEP")
    assert [watch.changed(step), watch.changed(step), watch.is_over] == [True, False, False]
    for phase in ("PROMOTED", "ROLLED_BACK"):
        assert watch.changed(msgspec.structs.replace(step, phase=phase))
        assert watch.is_over


def test_requests_have_their_method_path_and_body():
    assert (get_status().method, get_status().path) == ("GET", "/api/v2/status")
    assert (list_rollouts().method, list_rollouts().path) == ("GET", "/api/v2/rollouts")
    assert get_rollout("churn").path == "/api/v2/rollouts/churn"
    for action, to, body in (
        ("pause", None, b"{}"),
        ("rollback", "3.1", b'{"to":"3.1"}'),
        ("rollback", None, b'{"to":null}'),
    ):
        made = command("churn", action, generation=7, to=to)
        assert (made.method, made.path, made.body) == ("POST", f"/api/v2/rollouts/churn/{action}", body)
        assert (made.if_match, made.is_control) == (7, True)
    assert (get_status().body, get_status().if_match, get_status().is_control) == (b"", None, True)


def test_a_name_that_is_none_is_quoted_up_to_64_characters():
    with pytest.raises(errors.UsageError) as caught:
        calls.endpoint_name("X" * 65)
    assert f"'{'X' * 64}'" in str(caught.value)
    assert "X" * 65 not in str(caught.value)
    with pytest.raises(errors.UsageError) as caught:
        Peer("x" * 101, None, None, 1.0)
    assert f"'{'x' * 100}' is not a URL" in str(caught.value)


@pytest.mark.parametrize("value", [{"a": object()}, "\ud800"])
def test_what_json_cannot_carry_is_not_sent(value):
    with pytest.raises(errors.InvalidFeaturesError, match="the request is not JSON"):
        calls.to_json(value)


def test_clients_wait_ten_seconds_and_watch_every_second_by_default():
    for client in (Client, AsyncClient):
        assert inspect.signature(client).parameters["timeout_s"].default == 10.0
    made = Client()
    assert made._http.timeout.read == 10.0
    made.close()
    slower = AsyncClient(timeout_s=3.0)
    assert slower._http.timeout.read == 3.0
    asyncio.run(slower.close())
    settings = load_settings({})
    assert f"http://{settings.host}:{settings.port}" == DEFAULT_URL


def test_the_documented_arguments_of_watching_are_the_same_in_both_clients():
    blocking = inspect.signature(type(Client().rollout("churn")).watch).parameters
    awaited = inspect.signature(type(AsyncClient().rollout("churn")).watch).parameters
    assert {name: each.default for name, each in blocking.items()} == {
        name: each.default for name, each in awaited.items()
    }
    assert (blocking["poll_s"].default, blocking["patience"].default) == (1.0, 30)
