"""A tensor's data as values, from raw bytes or JSON. Every size is checked before memory is allocated. Pure.

A missing value is NaN in floating-point tensors, an empty text in BYTES, and null in any JSON tensor.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from divisions.errors import InvalidFeaturesError
from router.oip.codec import Tensor

Floats = NDArray[np.float32]
Texts = list[bytes | None]

FLOATS: dict[str, np.dtype[Any]] = {"FP16": np.dtype("<f2"), "FP32": np.dtype("<f4"), "FP64": np.dtype("<f8")}
INTEGERS: dict[str, np.dtype[Any]] = {
    f"{kind}{bits}": np.dtype(f"<{kind[0].lower()}{bits // 8}") for kind in ("INT", "UINT") for bits in (8, 16, 32, 64)
}
_NESTED = re.compile(rb"\s*\[\s*\[")
_DECODERS: dict[Any, tuple[msgspec.json.Decoder[Any], msgspec.json.Decoder[Any]]] = {
    kind: (msgspec.json.Decoder(list[kind | None]), msgspec.json.Decoder(list[list[kind | None]]))  # type: ignore[valid-type]  # types as values
    for kind in (float, int, bool, str)
}


def check_size(name: str, raw: memoryview, num_elements: int, itemsize: int) -> None:
    if len(raw) != num_elements * itemsize:
        raise InvalidFeaturesError(
            f"`{name}` has {len(raw)} raw bytes, but its shape needs {num_elements * itemsize}",
            remedy="binary_data_size must be the product of the shape times the size of an element",
        )


def numbers(tensor: Tensor, dtype: np.dtype[Any], kind: type) -> Floats:
    if tensor.raw is not None:
        check_size(tensor.name, tensor.raw, tensor.num_elements, dtype.itemsize)
        return to_float32(np.frombuffer(tensor.raw, dtype))
    values = json_array(tensor.name, tensor, kind)
    if kind is int:
        _check_range(tensor.name, values, dtype, "FP64")
    return to_float32(values)


def _check_range(name: str, values: list[Any], dtype: np.dtype[Any], larger: str) -> None:
    limits = np.iinfo(dtype)
    present = [value for value in values if value is not None]
    if present and not (limits.min <= min(present) and max(present) <= limits.max):
        raise InvalidFeaturesError(f"`{name}` has a number beyond its datatype", remedy=f"send it as {larger}")


def whole_numbers(tensor: Tensor) -> list[int | None]:
    """The values of an integer tensor, exactly."""
    dtype = INTEGERS[tensor.datatype]
    if tensor.raw is not None:
        check_size(tensor.name, tensor.raw, tensor.num_elements, dtype.itemsize)
        return [int(value) for value in np.frombuffer(tensor.raw, dtype).tolist()]
    values = json_array(tensor.name, tensor, int)
    _check_range(tensor.name, values, dtype, "a larger datatype")
    return values


def to_float32(values: Any) -> Floats:
    with np.errstate(over="ignore"):  # overflow gives infinity, which is refused later
        return np.asarray(np.asarray(values, None if isinstance(values, np.ndarray) else np.float64), np.float32)


def finite(name: str, column_N: Floats) -> Floats:
    if np.isinf(column_N).any():
        raise InvalidFeaturesError(
            f"feature {name!r} does not fit a 32-bit float", remedy="send numbers below 3.4e38 in size, NaN if missing"
        )
    return column_N


def booleans(tensor: Tensor) -> Floats:
    if tensor.raw is None:
        return to_float32(json_array(tensor.name, tensor, bool))
    check_size(tensor.name, tensor.raw, tensor.num_elements, 1)
    bytes_N = np.frombuffer(tensor.raw, np.uint8)
    if (bytes_N > 1).any():
        raise InvalidFeaturesError(
            f"feature {tensor.name!r} has a byte that is neither 0 nor 1", remedy="send BOOL as one such byte each"
        )
    return bytes_N.astype(np.float32)


def texts(tensor: Tensor) -> Texts:
    if tensor.raw is None:
        return [None if text is None else text.encode() for text in json_array(tensor.name, tensor, str)]
    raw, texts, position = bytes(tensor.raw), [], 0
    if tensor.num_elements * 4 > len(raw):
        raise _damaged_bytes(tensor.name)
    for _ in range(tensor.num_elements):
        start = position + 4
        position = start + int.from_bytes(raw[position:start], "little")
        if position > len(raw) or start > len(raw):
            raise _damaged_bytes(tensor.name)
        texts.append(raw[start:position])
    if position != len(raw):
        raise _damaged_bytes(tensor.name)
    return list(texts)


def _damaged_bytes(name: str) -> InvalidFeaturesError:
    return InvalidFeaturesError(
        f"feature {name!r}: its raw bytes are not as many texts as its shape says",
        remedy="BYTES are texts in UTF-8, each after its length as a little-endian 32-bit number",
    )


def json_array(name: str, tensor: Tensor, kind: type) -> list[Any]:
    """The elements of a JSON tensor, flat, in row-major order."""
    assert tensor.data is not None, "the codec requires raw or data"
    flat, nested = _DECODERS[kind]
    is_nested = len(tensor.shape) == 2 and _NESTED.match(tensor.data) is not None
    try:
        values = (nested if is_nested else flat).decode(tensor.data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise InvalidFeaturesError(
            f"`{name}`: its data are not an array of the datatype and shape that it says",
            remedy="send a flat array, or nested like the shape; null means missing",
        ) from None
    if is_nested:
        if any(len(row) != tensor.shape[1] for row in values):
            raise InvalidFeaturesError(f"`{name}`: its data are not nested like its shape", remedy="check the rows")
        values = [value for row in values for value in row]
    if len(values) != tensor.num_elements:
        raise InvalidFeaturesError(
            f"`{name}` has {len(values)} elements, but its shape needs another number", remedy="make them agree"
        )
    return list(values)
