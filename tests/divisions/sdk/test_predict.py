"""Rows in, predictions out, without HTTP: what is sent of a row, and which answers are not understood."""

from __future__ import annotations

import math

import msgspec
import pytest

from divisions import errors
from divisions.sdk.explanations import Contribution
from divisions.sdk.predict import Entities, list_entities, predict_many, predict_one

REPLY = {"customer_id": "c", "churn_probability": 0.25, "model": "m", "version": "3.1", "request_id": "r"}
ROW = {key: value for key, value in REPLY.items() if key != "request_id"}


def encoded(value: object) -> bytes:
    return msgspec.json.encode(value)


def one(customer_id="c", features=None, entity="customer_id"):
    return predict_one("churn", entity, customer_id, features)


def many(instances, entity="customer_id"):
    return predict_many("churn", entity, instances)


def test_a_row_is_its_customer_its_features_or_both():
    assert msgspec.json.decode(one().body) == {"customer_id": "c"}
    assert msgspec.json.decode(one(None, {"a": 1}).body) == {"features": {"a": 1}}
    assert msgspec.json.decode(one("c", {"a": None}, "account").body) == {"account": "c", "features": {"a": None}}
    assert (one().method, one().path, one().is_control) == ("POST", "/api/v2/predict/churn", False)
    with pytest.raises(errors.UsageError, match="nothing to predict"):
        one(None)


@pytest.mark.parametrize(("value", "sent"), [(math.nan, None), (1.5, 1.5), (0, 0), (False, False), ("x", "x")])
def test_what_is_no_number_is_missing(value, sent):
    assert msgspec.json.decode(one(None, {"a": value}).body)["features"] == {"a": sent}


@pytest.mark.parametrize(("value", "why"), [(math.inf, "is infinite"), (-math.inf, "is infinite"), ([1], "is a list")])
def test_what_no_feature_can_be_is_not_sent(value, why):
    with pytest.raises(errors.InvalidFeaturesError, match=f"feature 'a' {why}"):
        one(None, {"a": value})


def test_instances_are_ids_flat_rows_and_whole_rows():
    body = many(["c-1", {"a": 1, "customer_id": "c-2"}, {"features": {"a": 2}}, {"customer_id": "c-3"}]).body
    sent = msgspec.json.decode(body)["instances"]
    assert sent[0] == {"customer_id": "c-1"}
    assert sent[2] == {"features": {"a": 2}}
    assert sent[1]["customer_id"] == "c-2"
    assert sent[1]["features"] == {"a": 1}
    for wrong in ("c-1", b"c-1", {"a": 1}, 7):
        with pytest.raises(errors.UsageError, match="instances must be a list of rows"):
            many(wrong)


def test_an_answer_of_one_row():
    found = one().read(encoded(REPLY))
    assert (found.endpoint, found.probability, found.model, found.version) == ("churn", 0.25, "m", "3.1")
    assert (found.request_id, found.customer_id) == ("r", "c")
    assert one().read(encoded(REPLY | {"customer_id": None})).customer_id is None


@pytest.mark.parametrize(("said", "found"), [(True, True), (False, False), (None, None), ("yes", None), (1, None)])
def test_a_version_with_a_threshold_decides(said, found):
    assert one().read(encoded(REPLY | {"churn": said})).decision is found
    assert many(["c"]).read(encoded({"predictions": [REPLY | {"churn": said}]}))[0].decision is found
    assert one().read(encoded(REPLY)).decision is None


@pytest.mark.parametrize("row", [{}, {"other_probability": 0.5}, {"churn_probability": "0.5"}])
def test_an_answer_without_a_probability_is_not_understood(row):
    with pytest.raises(errors.ClusterError, match="cannot be understood: it has no churn_probability"):
        one().read(encoded(row))
    with pytest.raises(errors.ClusterError, match="cannot be understood: it has no churn_probability"):
        many(["c"]).read(encoded({"predictions": [row], "request_id": "r"}))


def test_an_answer_of_many_rows_keeps_their_order_and_the_request_id():
    rows = [ROW | {"customer_id": name, "churn_probability": share} for name, share in (("a", 0.1), ("b", 0.2))]
    found = many(["a", "b"]).read(encoded({"predictions": rows, "request_id": "r"}))
    assert [(each.customer_id, each.probability, each.request_id) for each in found] == [
        ("a", 0.1, "r"),
        ("b", 0.2, "r"),
    ]


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"{}",
        b'{"predictions":7}',
        b'{"predictions":null}',
        b'{"predictions":{"a":1}}',
        b'{"predictions":[7]}',
        b"x",
    ],
)
def test_an_answer_without_a_list_of_predictions_is_not_understood(body):
    with pytest.raises(errors.ClusterError, match="the answer cannot be understood"):
        many(["c"]).read(body)
    if body.startswith(b"{"):
        with pytest.raises(errors.ClusterError, match="it has no list of predictions"):
            many(["c"]).read(body)


def test_entities_are_learnt_from_the_index_once():
    known = Entities(None)
    assert known.of("churn") == "customer_id"
    assert known.may_learn("churn")
    index = list_entities().read(encoded({"endpoints": {"churn": {"entity": "account"}, "other": {"entity": "x"}}}))
    assert known.learn("churn", index)
    assert known.of("churn") == "account"
    assert not known.may_learn("churn")
    told = Entities("account")
    assert told.of("churn") == "account"
    assert not told.may_learn("churn")


EXPLANATION = {
    "scale": "log_odds",
    "reference": -1.0,
    "score": 0.5,
    "contributions": [{"feature": "plan", "value": "gold", "reference": None, "contribution": 1.25}],
    "others": 0.25,
    "joint": 0.0,
}


def test_an_explanation_is_asked_for_by_the_query_and_read():
    for call in (
        predict_one("churn", "customer_id", "c", None, top=3),
        predict_many("churn", "customer_id", ["c"], top=3),
    ):
        assert call.path == "/api/v2/predict/churn?explain=true&top=3"
    found = predict_one("churn", "customer_id", "c", None, top=3).read(encoded(REPLY | {"explanation": EXPLANATION}))
    assert found.explanation.contributions == (Contribution("plan", 1.25, "gold", None),)
    assert (found.explanation.reference, found.explanation.score, found.explanation.others) == (-1.0, 0.5, 0.25)
    assert one().read(encoded(REPLY)).explanation is None


@pytest.mark.parametrize("top", [0, -1, 1_001])
def test_an_explanation_names_some_features(top):
    with pytest.raises(errors.UsageError, match="top must be from 1 to 1000"):
        predict_one("churn", "customer_id", "c", None, top=top)


@pytest.mark.parametrize("wrong", [7, {}, EXPLANATION | {"joint": "much"}])
def test_an_explanation_that_is_none_is_not_understood(wrong):
    with pytest.raises(errors.DivisionsError, match="its explanation is no such thing"):
        one().read(encoded(REPLY | {"explanation": wrong}))
