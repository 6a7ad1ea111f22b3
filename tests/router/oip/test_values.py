"""Tensors at the edges of their datatypes, sizes and shapes; and what a description says of a version."""

from __future__ import annotations

import math
import struct

import msgspec
import numpy as np
import pytest

from divisions.errors import InvalidFeaturesError, MalformedRequestError
from divisions.schema import FLOAT32_MAX
from router.oip import codec, descriptions
from router.oip.codec import MAX_RANK, Tensor
from router.oip.models import ServedModel
from router.oip.rows import check_rows
from router.oip.values import FLOATS, INTEGERS, booleans, finite, json_array, numbers, texts, to_float32, whole_numbers
from router.predict.decode import MAX_ROWS
from tests.router.dispatch_world import DispatchWorld, settle

ALL = FLOATS | INTEGERS


def raw(data: bytes, *shape: int) -> Tensor:
    return Tensor("t", "any", shape, memoryview(data), None)


def of_json(values: object, *shape: int) -> Tensor:
    return Tensor("t", "any", shape, None, msgspec.Raw(msgspec.json.encode(values)))


@pytest.mark.parametrize("name", sorted(INTEGERS))
def test_both_ends_of_an_integer_datatype_are_taken_in_json_and_nothing_beyond(name):
    limits = np.iinfo(INTEGERS[name])
    for value in (limits.min, limits.max, 0):
        found = numbers(of_json([value, None], 2), INTEGERS[name], int)
        assert found[0] == np.float32(value)
        assert math.isnan(found[1])
    for value in (limits.min - 1, limits.max + 1):
        with pytest.raises(InvalidFeaturesError, match="a number beyond its datatype"):
            numbers(of_json([0, value], 2), INTEGERS[name], int)


def test_all_missing_is_within_any_datatype():
    assert np.isnan(numbers(of_json([None, None], 2), INTEGERS["INT8"], int)).all()


@pytest.mark.parametrize("name", sorted(ALL))
def test_raw_numbers_are_little_endian_and_as_many_as_the_shape_says(name):
    dtype = ALL[name]
    data = np.array([1, 2, 3], dtype).tobytes()
    assert dtype.itemsize * 8 == int("".join(filter(str.isdigit, name)))
    kind = float if name in FLOATS else int
    assert numbers(raw(data, 3, 1), dtype, kind).tolist() == [1.0, 2.0, 3.0]
    for wrong in (data[:-1], data + b"x"):
        with pytest.raises(
            InvalidFeaturesError, match=f"`t` has {len(wrong)} raw bytes, but its shape needs {len(data)}"
        ):
            numbers(raw(wrong, 3, 1), dtype, kind)


@pytest.mark.parametrize(
    ("value", "is_good"), [(FLOAT32_MAX, True), (3.5e38, False), (-3.5e38, False), (math.nan, True)]
)
def test_numbers_beyond_32_bits_are_refused(value, is_good):
    column = to_float32([value, 1.0])
    if is_good:
        assert finite("minutes", column) is column
        return
    with pytest.raises(InvalidFeaturesError, match="'minutes' does not fit a 32-bit float"):
        finite("minutes", column)


def test_a_boolean_is_a_byte_of_0_or_1():
    assert booleans(raw(b"\x00\x01", 2)).tolist() == [0.0, 1.0]
    for data in (b"\x00\x02", b"\xff\x00"):
        with pytest.raises(InvalidFeaturesError, match="neither 0 nor 1"):
            booleans(raw(data, 2))
    with pytest.raises(InvalidFeaturesError, match="raw bytes"):
        booleans(raw(b"\x00", 2))
    assert booleans(of_json([True, False], 2)).tolist() == [1.0, 0.0]


def text(*values: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(value)) + value for value in values)


def test_texts_follow_their_lengths():
    assert texts(raw(text(b"a", b"", b"long" * 100), 3)) == [b"a", b"", b"long" * 100]
    assert texts(raw(b"", 0)) == []
    assert texts(of_json(["ü", None], 2)) == ["ü".encode(), None]


@pytest.mark.parametrize(
    ("data", "count"),
    [
        (text(b"a"), 2),
        (text(b"a", b"b"), 1),
        (text(b"a")[:-1], 1),
        (text(b"a") + b"x", 1),
        (text(b"a") + b"\x00\x00\x00", 2),
        (b"\x05\x00\x00\x00abcd", 1),
        (b"\x00\x00\x00", 1),
    ],
)
def test_texts_of_other_lengths_are_refused(data, count):
    with pytest.raises(InvalidFeaturesError, match="not as many texts as its shape says"):
        texts(raw(data, count))


@pytest.mark.parametrize(
    ("values", "shape"),
    [([1.0, 2.0], (2,)), ([1.0, 2.0], (2, 1)), ([[1.0], [2.0]], (2, 1)), ([[1.0, 2.0]], (1, 2)), ([1.0, 2.0], (1, 2))],
)
def test_json_is_flat_or_nested_like_its_shape(values, shape):
    assert json_array("t", of_json(values, *shape), float) == [1.0, 2.0]


@pytest.mark.parametrize(
    ("values", "shape", "message"),
    [
        ([[1.0], [2.0]], (2,), "not an array of the datatype and shape"),
        ([[1.0, 2.0], [3.0]], (2, 2), "not nested like its shape"),
        ([[1.0, 2.0]], (2, 1), "not nested like its shape"),
        ([[1.0]], (2, 1), "has 1 elements"),
        ([1.0], (2,), "has 1 elements"),
        ([1.0, 2.0, 3.0], (2,), "has 3 elements"),
        (["a"], (1,), "not an array of the datatype"),
        ({"a": 1}, (1,), "not an array of the datatype"),
    ],
)
def test_other_json_is_refused(values, shape, message):
    with pytest.raises(InvalidFeaturesError, match=message):
        json_array("t", of_json(values, *shape), float)


@pytest.mark.parametrize(("rows", "is_good"), [(1, True), (MAX_ROWS, True), (0, False), (MAX_ROWS + 1, False)])
def test_a_request_has_one_to_4096_rows(rows, is_good):
    if is_good:
        assert check_rows(rows) == rows
        return
    with pytest.raises(InvalidFeaturesError, match="no rows" if not rows else f"at most {MAX_ROWS} rows"):
        check_rows(rows)


def request(**changes) -> bytes:
    tensor = {"name": "a", "datatype": "FP32", "shape": [1], "data": [1.0]} | changes.pop("tensor", {})
    return msgspec.json.encode({"inputs": [tensor]} | changes)


@pytest.mark.parametrize(("length", "is_good"), [(1, True), (128, True), (129, False)])
def test_an_id_has_up_to_128_plain_characters(length, is_good):
    body = request(id="x" * length)
    if is_good:
        assert codec.decode(body, None).request_id == "x" * length
        return
    with pytest.raises(InvalidFeaturesError, match="over 128 characters"):
        codec.decode(body, None)
    with pytest.raises(InvalidFeaturesError):
        codec.decode(request(id="a b"), None)


@pytest.mark.parametrize(("rank", "is_good"), [(MAX_RANK, True), (MAX_RANK + 1, False)])
def test_a_tensor_has_up_to_eight_dimensions(rank, is_good):
    assert MAX_RANK == 8
    body = request(tensor={"shape": [1] * rank})
    if is_good:
        assert codec.decode(body, None).tensors[0].num_elements == 1
        return
    with pytest.raises(InvalidFeaturesError):
        codec.decode(body, None)


@pytest.mark.parametrize("count", [-1, (1 << 62) + 1])
def test_a_dimension_is_a_count(count):
    assert codec.decode(request(tensor={"shape": [1 << 62, 0]}), None).tensors[0].num_elements == 0
    with pytest.raises(InvalidFeaturesError, match="`inputs"):
        codec.decode(request(tensor={"shape": [count]}), None)


def test_an_error_names_the_place_but_no_key_of_the_caller():
    with pytest.raises(InvalidFeaturesError) as caught:
        codec.decode(request(parameters=7), None)
    assert "parameters" not in str(caught.value)
    assert " - at " not in str(caught.value)
    with pytest.raises(InvalidFeaturesError, match=r"at `inputs\[0\]\.name`"):
        codec.decode(request(tensor={"name": 7}), None)


@pytest.mark.parametrize(
    "changes",
    [
        {"tensor": {"parameters": {"shared_memory_region": "r"}}},
        {"outputs": [{"name": "a", "parameters": {"classification": 3}}]},
        {"outputs": [{"name": "a", "parameters": {"shared_memory_region": "r"}}]},
        {"tensor": {"parameters": {"binary_data_size": 0}}},
        {"tensor": {"data": None}},
    ],
)
def test_what_is_not_offered_is_refused(changes):
    with pytest.raises(InvalidFeaturesError):
        codec.decode(request(**changes), None)


def test_raw_bytes_are_exactly_those_that_inputs_claim():
    inputs = [{"name": n, "datatype": "FP32", "shape": [1], "parameters": {"binary_data_size": 4}} for n in "ab"]
    head = msgspec.json.encode({"inputs": inputs})
    tensors = codec.decode(head + b"aaaabbbb", len(head)).tensors
    assert [bytes(tensor.raw) for tensor in tensors] == [b"aaaa", b"bbbb"]
    for tail, message in ((b"aaaabbb", "fewer raw bytes"), (b"aaaabbbbc", "more raw bytes")):
        with pytest.raises(MalformedRequestError, match=message):
            codec.decode(head + tail, len(head))
    assert codec.decode(request(), len(request())).tensors[0].raw is None
    with pytest.raises(MalformedRequestError, match="more than the whole body"):
        codec.decode(request(), len(request()) + 1)


def test_outputs_say_whether_they_are_binary():
    outputs = [
        {"name": "a"},
        {"name": "b", "parameters": {"binary_data": True}},
        {"name": "c", "parameters": {"binary_data": False}},
    ]
    decoded = codec.decode(request(outputs=outputs, parameters={"binary_data_output": True}), None)
    assert [output.is_binary for output in decoded.outputs] == [None, True, False]
    assert decoded.wants_binary
    assert not codec.decode(request(parameters={"binary_data_output": 1}), None).wants_binary


def test_statistics_are_those_of_the_version_in_nanoseconds(run):
    async def scenario():
        it = DispatchWorld(stable_s=(0.0, 0.0))
        before = descriptions.statistics(ServedModel("churn", it.endpoint), None, 5.0)[0]
        assert (before["last_inference"], before["inference_count"], before["execution_count"]) == (0, 0, 0)
        for number in range(3):
            it.submit(f"c-{number}")
            await it.run(0.005)
        (told,) = descriptions.statistics(ServedModel("churn", it.endpoint), "3.1", 5.0)
        assert (told["name"], told["version"]) == ("churn", "3.1")
        assert (told["inference_count"], told["execution_count"]) == (3, 3)
        newest_s = max(channel.replied_s for channel in it.endpoint.stable.channels.values())
        assert told["last_inference"] == int((newest_s + 5.0) * 1_000), "the newest of all replicas, in milliseconds"
        stats = told["inference_stats"]
        latency_s, compute_s = 3 * 0.005, 3 * 30e-6
        assert stats["success"]["count"] == stats["compute_infer"]["count"] == stats["compute_input"]["count"] == 3
        assert stats["success"]["ns"] == pytest.approx(latency_s * 1e9, abs=1.0)
        assert stats["compute_infer"]["ns"] == pytest.approx(compute_s * 1e9, abs=1.0)
        assert stats["queue"]["ns"] == pytest.approx((latency_s - compute_s) * 1e9, abs=1.0)
        unmeasured = ("fail", "compute_input", "compute_output", "cache_hit", "cache_miss")
        assert [stats[name]["ns"] for name in unmeasured] == [0] * 5
        assert (stats["fail"]["count"], stats["cache_hit"]["count"], stats["cache_miss"]["count"]) == (0, 0, 0)

    run(scenario())


def test_a_configuration_names_limits_types_and_replicas(run):
    async def scenario():
        it = DispatchWorld(stable_s=(0.0, 0.0))
        await settle()
        told = descriptions.configuration(ServedModel("churn", it.endpoint))
        assert told["max_batch_size"] == MAX_ROWS
        assert told["input"] == [
            {"name": "minutes", "data_type": "TYPE_FP32", "dims": [1], "reshape": {"shape": []}},
        ]
        assert told["output"][0]["dims"] == [1]
        assert told["dynamic_batching"] == {"preferred_batch_size": [8], "max_queue_delay_microseconds": 0}
        assert told["instance_group"] == [{"kind": "KIND_AUTO", "count": 2}]
        assert told["parameters"]["version"] == {"string_value": "3.1"}

    run(scenario())


@pytest.mark.parametrize("data", [b"", b"\0" * 7, b"\0" * 9, b"\0" * 16])
def test_whole_numbers_have_as_many_bytes_as_their_shape_says(data):
    assert whole_numbers(Tensor("t", "INT64", (1,), memoryview(b"\7" + b"\0" * 7), None)) == [7]
    with pytest.raises(InvalidFeaturesError, match=rf"has {len(data)} raw bytes, but its shape needs 8"):
        whole_numbers(Tensor("t", "INT64", (1,), memoryview(data), None))
