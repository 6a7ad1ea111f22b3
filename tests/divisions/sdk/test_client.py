"""The predictions of the client against a real HTTP server on a free port."""

import numpy as np
import pandas as pd
import pytest

from divisions import Client, errors
from tests.divisions.sdk.fake_gateway import ANSWER, PREDICTION, SPEC, asked


def test_a_prediction_by_customer_id_sends_no_token(client, gateway):
    gateway.will_answer(ANSWER)
    assert client.predict("churn", customer_id="c-1") == PREDICTION
    method, path, body, headers = asked(gateway)
    assert (method, path, body) == ("POST", "/api/v2/predict/churn", {"customer_id": "c-1"})
    assert headers["content-type"] == "application/json"
    assert "authorization" not in headers


def test_features_lose_numpy_types_and_missing_values_become_null(client, gateway):
    gateway.will_answer(ANSWER | {"customer_id": None})
    features = {"a": np.float32(0.5), "b": np.int64(3), "c": np.bool_(True), "d": float("nan"), "e": pd.NA, "f": "x"}
    assert client.predict("churn", features=features).customer_id is None
    sent = {"a": 0.5, "b": 3, "c": True, "d": None, "e": None, "f": "x"}
    assert asked(gateway)[2] == {"features": sent}


def test_many_rows_go_as_instances_in_any_mix(client, gateway):
    gateway.will_answer({"predictions": [{"customer_id": "c-1", "churn_probability": 0.25}] * 4, **ANSWER})
    rows = ["c-1", {"customer_id": "c-2", "a": 1}, {"a": 1}, {"customer_id": "c-3", "features": {"a": None}}]
    assert client.predict("churn", instances=rows) == [PREDICTION] * 4
    assert asked(gateway)[2] == {
        "instances": [
            {"customer_id": "c-1"},
            {"customer_id": "c-2", "features": {"a": 1}},
            {"features": {"a": 1}},
            {"customer_id": "c-3", "features": {"a": None}},
        ]
    }


@pytest.mark.parametrize("customer", [7, 7.0, "7", np.int64(7), np.float64(7.0)])
def test_a_whole_number_is_the_same_customer_as_its_text(client, gateway, customer):
    gateway.will_answer(ANSWER)
    client.predict("churn", customer_id=customer)
    assert asked(gateway)[2] == {"customer_id": "7"}
    gateway.will_answer({"predictions": [ANSWER] * 3, **ANSWER})
    rows = [customer, {"customer_id": customer, "a": 1}, {"customer_id": customer, "features": {"a": 1}}]
    client.predict("churn", instances=rows)
    assert asked(gateway)[2]["instances"] == [{"customer_id": "7"}, *[{"customer_id": "7", "features": {"a": 1}}] * 2]


def test_ids_of_a_data_frame_with_a_gap_are_whole(client, gateway):
    gateway.will_answer({"predictions": [ANSWER] * 2, **ANSWER})
    client.predict("churn", instances=pd.DataFrame({"customer_id": [15634602, None], "a": [1, 2]}))
    rows = [{"customer_id": "15634602", "features": {"a": 1}}, {"features": {"a": 2}}]
    assert asked(gateway)[2] == {"instances": rows}


@pytest.mark.parametrize("customer", [True, 7.5, 2.0**53, np.bool_(True), [7]])
def test_an_id_that_is_no_whole_number_is_refused_by_its_name(client, gateway, customer):
    with pytest.raises(errors.InvalidFeaturesError, match="customer_id"):
        client.predict("churn", customer_id=customer)
    with pytest.raises((errors.InvalidFeaturesError, errors.UsageError)):
        client.predict("churn", instances=[customer])
    assert gateway.requests == []


def test_a_tester_names_a_version_and_shows_the_token(client, gateway):
    gateway.will_answer(ANSWER)
    client.predict("churn", customer_id="c-1", version="3.2")
    gateway.will_answer({"predictions": [ANSWER], **ANSWER})
    client.predict("churn", instances=["c-1"], version="3.2")
    for _, _, headers, _ in gateway.requests:
        assert (headers["x-divisions-version"], headers["authorization"]) == ("3.2", "Bearer secret")
    gateway.will_answer(ANSWER)
    client.predict("churn", customer_id="c-1")
    assert not {"x-divisions-version", "authorization"} & set(asked(gateway)[3])


def test_an_endpoint_that_asks_for_a_key_gets_the_token_from_then_on_and_no_other_does(client, gateway):
    gateway.will_answer({"detail": "this endpoint needs a key", "code": "MissingTokenError"}, status=401)
    gateway.will_answer(ANSWER)
    client.predict("churn", customer_id="c-1")
    gateway.will_answer(ANSWER)
    client.predict("churn", customer_id="c-2")
    gateway.will_answer({**ANSWER, "fraud_probability": 0.5})
    client.predict("fraud", customer_id="c-1")
    shown = [headers.get("authorization") for _, _, headers, _ in gateway.requests]
    assert shown == [None, "Bearer secret", "Bearer secret", None]
    gateway.will_answer({"detail": "revoked", "code": "UnknownTokenError"}, status=401)
    with pytest.raises(errors.UnknownTokenError, match="revoked"):
        client.predict("churn", customer_id="c-1")


def test_a_limit_that_is_reached_says_when_to_ask_again(client, gateway):
    gateway.will_answer({"detail": "too fast", "code": "LimitReachedError"}, status=429, headers=[("Retry-After", "7")])
    with pytest.raises(errors.LimitReachedError, match="too fast") as caught:
        client.predict("churn", customer_id="c-1")
    assert caught.value.retry_after_s == 7.0


@pytest.mark.parametrize(("told", "expected"), [({}, (None, "")), ({"features_as_of": "2025"}, ("2025", ""))])
def test_a_prediction_says_how_old_its_features_are(client, gateway, told, expected):
    gateway.will_answer(ANSWER | told)
    found = client.predict("churn", customer_id="c-1")
    assert (found.features_as_of, found.features_status) == expected
    gateway.will_answer({"predictions": [ANSWER | told | {"features_status": "stale"}], **ANSWER})
    (found,) = client.predict("churn", instances=["c-1"])
    assert (found.features_as_of, found.features_status) == (expected[0], "stale")


def test_an_array_in_a_feature_is_refused_by_its_name(client):
    with pytest.raises(errors.InvalidFeaturesError, match="feature 'a' is a ndarray"):
        client.predict("churn", features={"a": np.array([1, 2])})


def test_a_data_frame_goes_as_instances(client, gateway):
    gateway.will_answer({"predictions": [ANSWER, ANSWER]})
    frame = pd.DataFrame(
        {"customer_id": ["c-1", "c-2"], "a": [1.0, None], "b": pd.Series([True, pd.NA], dtype="boolean")}
    )
    assert client.predict("churn", instances=frame) == [PREDICTION, PREDICTION]
    assert asked(gateway)[2] == {
        "instances": [
            {"customer_id": "c-1", "features": {"a": 1.0, "b": True}},
            {"customer_id": "c-2", "features": {"a": None, "b": None}},
        ]
    }


def test_the_entity_may_have_another_name(gateway, tmp_path):
    gateway.will_answer({"account": "a-1", "churn_probability": 1})
    with Client(gateway.url, home=tmp_path, entity="account") as client:
        assert client.predict("churn", customer_id="a-1").customer_id == "a-1"
    assert asked(gateway)[2] == {"account": "a-1"}


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"instances": [{}], "customer_id": "c-1"},
        {"instances": "c-1"},
        {"instances": {"a": 1}},
        {"instances": 5},
        {"instances": [None]},
        {"instances": [["c-1"]]},
    ],
)
def test_arguments_without_a_request_are_usage_errors(client, gateway, arguments):
    with pytest.raises(errors.UsageError):
        client.predict("churn", **arguments)
    assert gateway.requests == []


@pytest.mark.parametrize("value", [float("inf"), object(), b"x", [1], "\ud800"])
def test_values_that_json_cannot_represent_are_not_sent(client, gateway, value):
    with pytest.raises(errors.InvalidFeaturesError):
        client.predict("churn", features={"a": value})
    assert gateway.requests == []


@pytest.mark.parametrize("endpoint", ["", "../status", "a/b", "Churn", "a?b", "a" * 65])
def test_endpoints_cannot_escape_their_path(client, gateway, endpoint):
    with pytest.raises(errors.UsageError):
        client.predict(endpoint, customer_id="c-1")
    with pytest.raises(errors.UsageError):
        client.rollout(endpoint).abort()
    assert gateway.requests == []


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, errors.MalformedRequestError),
        (404, errors.UnknownEntityError),
        (413, errors.RequestError),
        (422, errors.InvalidFeaturesError),
        (502, errors.ReplicaFailedError),
        (503, errors.OverloadedError),
        (504, errors.DeadlineExceededError),
    ],
)
def test_problems_of_predictions_become_request_errors(client, gateway, status, kind):
    gateway.will_refuse(status, "what was wrong")
    with pytest.raises(errors.RequestError, match="what was wrong") as caught:
        client.predict("churn", customer_id="c-1")
    assert type(caught.value) is kind


def test_a_shed_request_says_when_to_try_again(client, gateway):
    gateway.will_refuse(503, headers=[("retry-after", "7")])
    with pytest.raises(errors.OverloadedError) as caught:
        client.predict("churn", customer_id="c-1")
    assert caught.value.retry_after_s == 7


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, errors.AccessDeniedError),
        (403, errors.AccessDeniedError),
        (404, errors.UnknownVersionError),
        (409, errors.ConflictError),
        (412, errors.StaleGenerationError),
        (422, errors.RolloutError),
        (500, errors.ClusterError),
        (503, errors.NotRunningError),
    ],
)
def test_problems_of_control_become_their_errors(client, gateway, status, kind):
    gateway.will_refuse(status, "what was wrong")
    with pytest.raises(kind, match="what was wrong") as caught:
        client.rollout("churn").pause()
    assert type(caught.value) is kind


def test_a_problem_that_names_its_class_becomes_that_class(client, gateway):
    gateway.will_refuse(409, code="LatchedSpecError")
    with pytest.raises(errors.LatchedSpecError):
        client.start_rollout(SPEC)
    gateway.will_refuse(409, code="SystemExit")
    with pytest.raises(errors.ConflictError):
        client.start_rollout(SPEC)


@pytest.mark.parametrize(
    "reply", [b"", b"<html>", b"[]", b'{"churn_probability": "high"}', b'{"x": 1}', b"\xff", b'{"\xff": 1}']
)
def test_an_answer_of_another_form_is_a_cluster_error(client, gateway, reply):
    gateway.will_answer(reply)
    with pytest.raises(errors.ClusterError, match="cannot be understood"):
        client.predict("churn", customer_id="c-1")
    gateway.will_answer(reply, status=500)
    with pytest.raises(errors.ClusterError, match="no explanation"):
        client.predict("churn", customer_id="c-1")


def test_a_client_is_closed_at_the_end_of_its_block(client, monkeypatch):
    closed = []
    monkeypatch.setattr(client, "close", lambda: closed.append(1))
    with client as entered:
        assert (entered, closed) == (client, [])
    assert closed == [1]
