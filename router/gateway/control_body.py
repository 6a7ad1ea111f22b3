"""Bodies of control requests: JSON objects that can be read in one way only.

Predict takes the last of duplicate keys, as most JSON readers do. A command is stricter: a proxy or a policy that
checked it on its way here might have read the first.
"""

from __future__ import annotations

import json
from typing import Annotated, NoReturn, TypeVar

import msgspec

from divisions.errors import InvalidCommandError, MalformedRequestError
from divisions.promotion import LINE_PATTERN, MAX_COMMENT_CHARS
from divisions.scaling import MAX_REPLICAS


class CommandBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """``to`` is the version of a rollback; null is the one that served before. Other commands ignore it.

    ``reason`` is told with a promotion, an abort and a rollback. ``break_glass`` promotes without the policy, and needs
    one.
    """

    to: str | None = None
    reason: Annotated[str, msgspec.Meta(pattern=LINE_PATTERN, max_length=MAX_COMMENT_CHARS)] = ""
    break_glass: bool = False


class ScaleBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """``version`` null is every version that the endpoint runs. ``force`` scales even if the cluster has no room."""

    replicas: Annotated[int, msgspec.Meta(ge=1, le=MAX_REPLICAS)]
    version: str | None = None
    force: bool = False


_EXACT = 2.0**53
"""From here on, a float may stand for several whole numbers."""
_Body = TypeVar("_Body", bound=msgspec.Struct)


def read_body(body: bytes, kind: type[_Body]) -> _Body:
    """The body of a command.

    Raises:
        MalformedRequestError: see `require_object`.
        InvalidCommandError: it is an object, but no ``kind``.
    """
    try:
        return msgspec.convert(require_object(body), kind)
    except msgspec.ValidationError as error:
        known = ", ".join(f"`{name}`" for name in kind.__struct_fields__)
        unknown = "unknown field" in str(error)  # Its name is the caller's text.
        why = "the body has a key that the command does not know" if unknown else str(error).replace("`$.", "`")
        raise InvalidCommandError(why, remedy=f"its keys are {known}") from None


def require_object(body: bytes) -> dict[str, object]:
    """The object that ``body`` holds; an empty body is an empty object.

    Raises:
        MalformedRequestError: it is not JSON in UTF-8, not an object, or names a key twice at any depth.
    """
    if not body:
        return {}
    try:
        msgspec.json.decode(body)  # Python's own reader lets half of a surrogate pair pass, which UTF-8 cannot hold.
        document = json.loads(body.decode(), object_pairs_hook=_unique, parse_constant=_no_number, parse_float=_number)
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


def _number(text: str) -> float:
    """``2.0`` is a whole number to JSON Schema, and so to callers who check what they send."""
    value = float(text)
    return int(value) if value.is_integer() and abs(value) < _EXACT else value
