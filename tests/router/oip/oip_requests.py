"""Requests of the Open Inference Protocol, as raw bytes."""

from __future__ import annotations

import struct

import msgspec
import numpy as np

from tests.router.gateway_world import post

INFER = "/v2/models/churn/infer"
OUTPUT = "churn_probability"


def encoded(rows: int, start: float = 0.0) -> np.ndarray:
    """Rows as the model takes them: minutes count up, plan gold, abroad."""
    return np.stack([np.array([start + n, 2.0, 1.0], np.float32) for n in range(rows)])


def rows_tensor(rows_NF: np.ndarray, **changes: object) -> dict:
    raw = {"binary_data_size": rows_NF.nbytes}
    return {"name": "rows", "shape": list(rows_NF.shape), "datatype": "FP32", "parameters": raw} | changes


def binary(request: dict, *tails: bytes, path: str = INFER, headers: tuple[str, ...] = ()) -> bytes:
    head = msgspec.json.encode(request)
    return post(head + b"".join(tails), f"Inference-Header-Content-Length: {len(head)}", *headers, path=path)


def feature_tensors(minutes: list, plan: list, abroad: list) -> list[dict]:
    return [
        {"name": "minutes", "shape": [len(minutes)], "datatype": "FP32", "data": minutes},
        {"name": "plan", "shape": [len(plan), 1], "datatype": "BYTES", "data": plan},
        {"name": "abroad", "shape": [len(abroad)], "datatype": "BOOL", "data": abroad},
    ]


def texts(*values: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(value)) + value for value in values)


async def get(it, path: str, method: str = "GET"):
    (reply,) = await it.raw(f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n".encode())
    return reply


def echo(rows_NF: np.ndarray) -> np.ndarray:
    """A score out of every column, so that each can be told; missing counts 0.5."""
    weights = np.array([0.001, 0.1, 0.01], np.float32)
    return np.nan_to_num(rows_NF, nan=0.5).astype(np.float32) @ weights


GOOD_NF = encoded(2)
GOOD = rows_tensor(GOOD_NF)
RAW = GOOD_NF.tobytes()
