"""Bodies of control requests: JSON objects that cannot be read in two ways.

Predict takes the last of duplicate keys, as most JSON readers do. That is not safe for a command: a proxy or a policy
that checks it on its way may read the first.
"""

from __future__ import annotations

import json
from typing import NoReturn

from divisions.errors import MalformedRequestError


def require_object(body: bytes) -> dict[str, object]:
    """The object that ``body`` holds; an empty body is an empty object.

    Raises:
        MalformedRequestError: it is not JSON, not an object, or names a key twice at any depth.
    """
    if not body:
        return {}
    try:
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
