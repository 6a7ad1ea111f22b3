"""Replies of inference: parts joined by position, as JSON or raw, or one problem."""

from __future__ import annotations

import json

import pytest

from divisions.errors import OverloadedError
from router.oip.models import ServedModel
from router.oip.replies import TensorAnswer
from tests.router.predict.test_answers import It


def tensor(it: It, rows: int, *, is_binary=False, has_own_id=True) -> TensorAnswer:
    model = ServedModel("churn", it.endpoint)
    return TensorAnswer(model, rows, is_binary, b"r-1", has_own_id, it.exchange, it.front)


@pytest.mark.parametrize("has_own_id", [True, False])
def test_tensors_are_joined_by_position(run, has_own_id):
    async def scenario():
        it = It()
        answer = tensor(it, 3, has_own_id=has_own_id)
        answer.answered(it.job(answer, [1, 2]), [0.25, 0.5], 400, 10.003)
        assert it.transport.written == b""
        answer.answered(it.job(answer, [0]), [0.125], 300, 10.005)
        fields, body = it.reply()
        told = json.loads(body)
        assert told["outputs"][0] == {
            "name": "churn_probability",
            "datatype": "FP32",
            "shape": [3],
            "data": [0.125, 0.25, 0.5],
        }
        assert (told["model_name"], told["model_version"]) == ("churn", "3.1")
        assert told.get("id") == ("r-1" if has_own_id else None)
        assert fields["content-type"] == "application/json"
        assert fields["server-timing"] == "queue;dur=4.600, compute;dur=0.400"

    run(scenario())


def test_raw_tensors_follow_their_description(run):
    async def scenario():
        it = It()
        answer = tensor(it, 2, is_binary=True)
        answer.answered(it.job(answer, [0, 1], is_canary=True), [0.25, 0.5], 400, 10.003)
        fields, body = it.reply()
        length = int(fields["Inference-Header-Content-Length"])
        told = json.loads(body[:length])
        assert told["model_version"] == "3.2"
        assert told["outputs"][0]["parameters"] == {"binary_data_size": 8}
        assert memoryview(body[length:]).cast("f").tolist() == [0.25, 0.5]

    run(scenario())


def test_parts_of_two_versions_are_named_after_stable(run):
    async def scenario():
        it = It()
        answer = tensor(it, 2)
        answer.answered(it.job(answer, [0], is_canary=True), [0.25], 1, 10.0)
        answer.answered(it.job(answer, [1]), [0.5], 1, 10.0)
        fields, body = it.reply()
        assert json.loads(body)["model_version"] == "3.1"
        assert fields["x-model-version"] == "3.1,3.2"

    run(scenario())


def test_a_failed_tensor_is_one_problem(run):
    async def scenario():
        it = It()
        answer = tensor(it, 2)
        for position in (0, 1):
            answer.failed(it.job(answer, [position]), OverloadedError("busy"))
        assert it.transport.statuses == [503]
        assert it.refusals.counts == {("churn", 503, "OverloadedError"): 1}

    run(scenario())
