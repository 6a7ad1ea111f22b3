"""A request that names entities only: their ids as a tensor, and their rows from the online store. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from divisions.entity_ids import MAX_ID_CHARACTERS
from divisions.errors import InvalidFeaturesError
from divisions.schema import FeatureSchema
from router.oip.codec import Tensor
from router.oip.rows import check_rows
from router.oip.values import INTEGERS, texts, whole_numbers
from router.predict.customer_look_up import DEFAULT, STALE, utc_text
from router.predict.decode import Values
from router.predict.endpoint import Endpoint


def entity_ids(tensor: Tensor) -> list[str]:
    """The ids of a tensor ``[N]`` or ``[N, 1]``: BYTES, or any whole numbers.

    Raises:
        InvalidFeaturesError: an id is missing, or the tensor is of another kind.
    """
    if len(tensor.shape) not in {1, 2} or (len(tensor.shape) == 2 and tensor.shape[1] != 1):
        raise InvalidFeaturesError(f"`{tensor.name}` must have the shape [N] or [N, 1]", remedy="send one id per row")
    check_rows(tensor.shape[0])
    ids: list[str]
    if tensor.datatype == "BYTES":
        ids = [_text(tensor.name, text) for text in texts(tensor)]
    elif tensor.datatype in INTEGERS:
        ids = ["" if number is None else str(number) for number in whole_numbers(tensor)]
    else:
        raise InvalidFeaturesError(
            f"`{tensor.name}` names customers, and must be BYTES or whole numbers", remedy="send it as BYTES or INT64"
        )
    if not all(0 < len(each) <= MAX_ID_CHARACTERS for each in ids):
        raise InvalidFeaturesError(
            f"`{tensor.name}` has an id that is missing or has more than {MAX_ID_CHARACTERS} characters",
            remedy="send every id as it is in the data",
        )
    return ids


def _text(name: str, text: bytes | None) -> str:
    try:
        return "" if text is None else text.decode()
    except UnicodeDecodeError:
        raise InvalidFeaturesError(f"`{name}` has an id that is not UTF-8", remedy="send texts as UTF-8") from None


class StoredRows:
    """Rows by values, as the online store has them. Is a `router.predict.jobs.RowSource`."""

    __slots__ = ("_endpoint", "_values", "rows")

    def __init__(self, endpoint: Endpoint, values: Sequence[Values]) -> None:
        self._endpoint = endpoint
        self._values = values
        self.rows = len(values)

    def pack(self, start: int, stop: int, schema: FeatureSchema) -> bytes:
        encode = next((pool.encode for pool in self._endpoint.pools if pool.spec.schema == schema), None)
        if encode is None:  # Its version has left the table since.
            encode = self._endpoint.decoder.encoder(schema)
        return b"".join([encode(values) for values in self._values[start:stop]])


def freshness(rows: Sequence[tuple[float, int]]) -> bytes:
    """What a reply says about the features of its rows, as a JSON object: the oldest event time, and two counts.

    Args:
        rows: event time and status of each row, see `router.predict.customer_look_up`.
    """
    known = [as_of_s for as_of_s, _ in rows if not math.isnan(as_of_s)]
    statuses = [status for _, status in rows]
    return msgspec.json.encode(
        {
            "features_as_of": (utc_text(min(known)) or None) if known else None,
            "features_stale": statuses.count(STALE),
            "features_default": statuses.count(DEFAULT),
        }
    )
