"""Bodies of control requests: JSON objects that can be read in one way only.

Predict takes the last of duplicate keys, as most JSON readers do. A command is stricter: a proxy or a policy that
checked it on its way here might have read the first.
"""

from __future__ import annotations

import json
from typing import NoReturn

import msgspec

from divisions.errors import MalformedRequestError


def require_object(body: bytes) -> dict[str, object]:
    """The object that ``body`` holds; an empty body is an empty object.

    Raises:
        MalformedRequestError: it is not JSON in UTF-8, not an object, or names a key twice at any depth.
    """
    if not body:
        return {}
    try:
        msgspec.json.decode(body)  # Python's own reader lets half of a surrogate pair pass, which UTF-8 cannot hold.
        document = json.loads(body.decode(), object_pairs_hook=_unique, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise MalformedRequestError(
            "the body is not well-formed JSON in UTF-8", remedy="check it with a JSON linter"
        ) from None
    if not isinstance(document, dict):
        raise MalformedRequestError("the body must be a JSON object", remedy="send what the API describes")
    return document


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise MalformedRequestError("the body names a key twice", remedy="name each key once")
    return members


def _no_number(text: str) -> NoReturn:
    raise ValueError(text)  # NaN and the infinities are not JSON.
