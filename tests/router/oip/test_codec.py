"""The Open Inference Protocol's codec and tensors, without sockets: what goes in comes out, and garbage is refused."""

from __future__ import annotations

import math
import struct

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from divisions.errors import InvalidFeaturesError, MalformedRequestError, ReplicaFailedError, RequestError
from divisions.schema import Feature, FeatureKind, FeatureSchema
from router.oip import codec
from router.oip.columns import FeatureColumns
from router.oip.rows import EncodedRows, RowBounds

SCHEMA = FeatureSchema(
    (
        Feature("minutes", FeatureKind.NUMERIC),
        Feature("plan", FeatureKind.CATEGORICAL, ("basic", "gold", "über")),
        Feature("abroad", FeatureKind.BOOLEAN),
    )
)
KINDS = {feature.name: feature.kind for feature in SCHEMA.features}
FLOAT32 = st.floats(width=32, allow_infinity=False)


def sources(body: bytes, header_bytes: int | None):
    """Everything that reads a body, up to the rows as a version takes them."""
    request = codec.decode(body, header_bytes)
    if len(request.tensors) == 1 and request.tensors[0].name == "rows":
        return EncodedRows(request.tensors[0], RowBounds(SCHEMA.features))
    return FeatureColumns(request.tensors, KINDS, SCHEMA.names)


def body_of(inputs: list[dict], *tails: bytes) -> tuple[bytes, int]:
    head = msgspec.json.encode({"inputs": inputs})
    return head + b"".join(tails), len(head)


def raw_tensor(name: str, datatype: str, shape: list[int], tail: bytes) -> dict:
    return {"name": name, "datatype": datatype, "shape": shape, "parameters": {"binary_data_size": len(tail)}}


rows_st = st.lists(
    st.tuples(
        st.none() | FLOAT32.filter(lambda value: not math.isnan(value)),
        st.none() | st.sampled_from(["basic", "gold", "über", "something else"]),
        st.none() | st.booleans(),
    ),
    min_size=1,
    max_size=20,
)


def reference(rows: list[tuple]) -> bytes:
    encoded = [SCHEMA.encode_row(dict(zip(SCHEMA.names, row, strict=True))) for row in rows]
    return np.array(encoded, "<f4").tobytes()


@given(rows_st)
def test_json_features_are_encoded_as_the_schema_says(rows):
    columns = list(zip(*rows, strict=True))
    datatypes = ("FP64", "BYTES", "BOOL")
    inputs = [
        {"name": name, "datatype": datatype, "shape": [len(rows)], "data": list(column)}
        for name, datatype, column in zip(SCHEMA.names, datatypes, columns, strict=True)
    ]
    source = sources(msgspec.json.encode({"inputs": inputs}), None)
    assert np.array_equal(
        np.frombuffer(source.pack(0, len(rows), SCHEMA), "<f4"), np.frombuffer(reference(rows), "<f4"), equal_nan=True
    )


@given(rows_st.map(lambda rows: [(minutes, plan, abroad is True) for minutes, plan, abroad in rows]), st.data())
def test_binary_features_are_encoded_as_the_schema_says_and_cut_anywhere(rows, data):
    count = len(rows)
    texts = [(plan or "").encode() for _, plan, _ in rows]
    tails = (
        np.array([math.nan if minutes is None else minutes for minutes, _, _ in rows], "<f4").tobytes(),
        b"".join(struct.pack("<I", len(text)) + text for text in texts),
        bytes(abroad for _, _, abroad in rows),
    )
    shapes = [data.draw(st.sampled_from([[count], [count, 1]])) for _ in tails]
    inputs = [
        raw_tensor(name, datatype, shape, tail)
        for name, datatype, shape, tail in zip(SCHEMA.names, ("FP32", "BYTES", "BOOL"), shapes, tails, strict=True)
    ]
    source = sources(*body_of(inputs, *tails))
    cut = data.draw(st.integers(0, count))
    packed = source.pack(0, cut, SCHEMA) + source.pack(cut, count, SCHEMA)
    assert np.array_equal(np.frombuffer(packed, "<f4"), np.frombuffer(reference(rows), "<f4"), equal_nan=True)


@given(rows_st, st.data())
def test_encoded_rows_come_out_as_the_bytes_that_went_in(rows, data):
    raw = reference(rows)
    source = sources(*body_of([raw_tensor("rows", "FP32", [len(rows), 3], raw)], raw))
    cut = data.draw(st.integers(0, len(rows)))
    assert b"".join([source.pack(0, cut, SCHEMA), source.pack(cut, len(rows), SCHEMA)]) == raw


@given(st.binary(max_size=200), st.none() | st.integers(0, 300))
def test_garbage_is_refused(body, header_bytes):
    with pytest.raises(RequestError):
        sources(body, header_bytes)


GOOD_RAW = reference([(1.0, "gold", True)] * 4)
GOOD_TAILS = (bytes(16), b"".join(struct.pack("<I", 4) + b"gold" for _ in range(4)), bytes(4))
GOOD_BODIES = [
    body_of([raw_tensor("rows", "FP32", [4, 3], GOOD_RAW)], GOOD_RAW),
    body_of(
        [
            raw_tensor("minutes", "FP32", [4], GOOD_TAILS[0]),
            raw_tensor("plan", "BYTES", [4], GOOD_TAILS[1]),
            raw_tensor("abroad", "BOOL", [4], GOOD_TAILS[2]),
        ],
        *GOOD_TAILS,
    ),
]


@given(st.sampled_from(GOOD_BODIES), st.data())
def test_a_body_cut_short_or_with_more_is_refused(good, data):
    body, header_bytes = good
    assert sources(body, header_bytes).rows == 4
    kept = data.draw(st.integers(0, len(body) - 1))
    for damaged in (body[:kept], body + b"x"):
        with pytest.raises(RequestError):
            sources(damaged, header_bytes)


@given(st.sampled_from(GOOD_BODIES), st.data())
def test_changed_bytes_give_rows_or_a_refusal_and_nothing_else(good, data):
    body, header_bytes = bytearray(good[0]), good[1]
    for _ in range(data.draw(st.integers(1, 8))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        source = sources(bytes(body), header_bytes)
    except RequestError:
        return
    packed = np.frombuffer(source.pack(0, source.rows, SCHEMA), "<f4")
    assert len(packed) == source.rows * 3
    assert not np.isinf(packed).any()


@given(st.lists(st.integers(-(1 << 70), 1 << 70), max_size=10), st.integers(-1, 1 << 70))
def test_no_claim_of_size_allocates_anything(shape, size):
    tensor = {"name": "rows", "datatype": "FP32", "shape": shape, "parameters": {"binary_data_size": size}}
    body = b'{"inputs":[%s]}' % msgspec.json.encode(tensor).replace(b'"shape":"', b'"shape":')
    with pytest.raises(RequestError):
        sources(body + GOOD_RAW, len(body))


def test_a_text_longer_than_the_tensor_is_refused():
    tail = struct.pack("<I", 0xFFFF_FFFF) + b"gold"
    inputs = [raw_tensor("plan", "BYTES", [1], tail)]
    request = codec.decode(*body_of(inputs, tail))
    with pytest.raises(InvalidFeaturesError, match="not as many texts"):
        FeatureColumns(request.tensors, KINDS, ["plan"])


def test_empty_text_is_missing_unless_it_is_a_category():
    tail = struct.pack("<I", 0)
    request = codec.decode(*body_of([raw_tensor("plan", "BYTES", [1], tail)], tail))
    source = FeatureColumns(request.tensors, KINDS, ["plan"])
    (code,) = np.frombuffer(source.pack(0, 1, FeatureSchema(SCHEMA.features[1:2])), "<f4")
    assert math.isnan(code)
    with_empty = FeatureSchema((Feature("plan", FeatureKind.CATEGORICAL, ("gold", "")),))
    assert np.frombuffer(source.pack(0, 1, with_empty), "<f4").tolist() == [2.0]


def test_encoded_rows_are_never_given_to_another_encoding():
    raw = GOOD_RAW
    source = sources(*body_of([raw_tensor("rows", "FP32", [4, 3], raw)], raw))
    other = FeatureSchema((*SCHEMA.features[:2], Feature("abroad", FeatureKind.NUMERIC)))
    with pytest.raises(ReplicaFailedError):
        source.pack(0, 4, other)


def test_a_header_length_beyond_the_body_is_refused():
    with pytest.raises(MalformedRequestError, match="more than the whole body"):
        codec.decode(b"{}", 3)


def test_null_data_beside_raw_bytes_counts_as_no_data():
    tensor = raw_tensor("rows", "FP32", [4, 3], GOOD_RAW) | {"data": None}
    assert sources(*body_of([tensor], GOOD_RAW)).rows == 4


@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=50))
def test_json_scores_give_the_same_float32_back(scores):
    name = msgspec.json.encode('a "b"')[1:-1]
    text = codec.head(b"m", b"3.1", b"id") + codec.scores_json(name, scores)
    reply = msgspec.json.decode(text)
    assert reply["id"] == "id"
    (output,) = reply["outputs"]
    assert output["name"] == 'a "b"'
    assert output["shape"] == [len(scores)]
    assert np.array(output["data"], np.float32).tolist() == scores
