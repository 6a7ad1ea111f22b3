"""Arrow's arrays as arrays of numpy, and back, over the same memory.

pyarrow's own conversions import pandas, which takes longer than the preparation of a small input.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow as pa


def values_of(column: pa.ChunkedArray, dtype: type[np.generic] | str) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """The values of a column of fixed width, and which of them are not null.

    Args:
        column: its type must be as wide as ``dtype``.
        dtype: of the values. Those that are null may be anything.
    """
    width = np.dtype(dtype).itemsize
    values, valid = [np.empty(0, dtype)], [np.empty(0, np.bool_)]
    for chunk in column.chunks:
        bits, data = chunk.buffers()
        values.append(np.frombuffer(data, dtype, len(chunk), chunk.offset * width) if len(chunk) else values[0])
        if bits is None or not chunk.null_count:
            valid.append(np.ones(len(chunk), np.bool_))
        else:
            unpacked = np.unpackbits(np.frombuffer(bits, np.uint8), bitorder="little")
            valid.append(unpacked[chunk.offset : chunk.offset + len(chunk)].astype(np.bool_))
    return np.concatenate(values), np.concatenate(valid)


def array_of(values_N: NDArray[Any], kind: pa.DataType, is_valid_N: NDArray[np.bool_] | None = None) -> pa.Array:
    """An array of a type of fixed width; ``is_valid_N`` is false where it is null."""
    import pyarrow as pa

    bits, num_null, count = None, 0, len(values_N)
    if is_valid_N is not None and not is_valid_N.all():
        bits = pa.py_buffer(np.packbits(is_valid_N, bitorder="little"))
        num_null = int((~is_valid_N).sum())
    if values_N.dtype == np.bool_:
        values_N = np.packbits(values_N, bitorder="little")
    return pa.Array.from_buffers(kind, count, [bits, pa.py_buffer(np.ascontiguousarray(values_N))], num_null)


def texts_of(texts: Iterable[str]) -> pa.Array:
    """An array of texts, none of them null."""
    import pyarrow as pa

    encoded = [text.encode() for text in texts]
    ends = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(b"".join(encoded))]
    return pa.Array.from_buffers(pa.large_string(), len(encoded), buffers, 0)
