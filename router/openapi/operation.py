"""What the document says of one route: parameters, body, replies and refusals. Pure.

A refusal is named by its class in `divisions.errors`, so its status comes from the table that the gateway answers by.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from divisions import errors
from divisions.names import MAX_NAME_CHARS
from router.http import problem

JSON: Final = "application/json"
TEXT: Final = "text/plain; charset=utf-8"

Shape = type | dict[str, Any]
"""What a value looks like: a Struct, or a JSON schema."""

WIRE: Final[Mapping[int, str]] = {
    400: "The request is not well-formed HTTP/1.1.",
    408: "The request took too long to arrive.",
    413: "The body is larger than DIVISIONS_MAX_BODY_BYTES.",
    415: "The body is compressed.",
    421: "This server does not answer for that Host.",
    431: "The URL or the headers are too long.",
    500: "Internal error; the log has the details.",
    501: "The body has a transfer encoding other than chunked.",
    503: "Too many connections.",
    505: "The request is neither HTTP/1.1 nor HTTP/1.0.",
}
"""What every route may be answered before it is even looked up."""
GUARDED: Final[Mapping[int, str]] = {
    401: "The bearer token is missing, wrong or expired.",
    403: "The token's role or endpoints do not allow it, or the request comes from the page of another site.",
    429: "Too many wrong tokens came from this address.",
}
"""What the routes that need the token may be answered besides."""
KEYED: Final = (
    errors.MissingTokenError,
    errors.UnknownTokenError,
    errors.AccessDeniedError,
    errors.LimitReachedError,
)
"""Refusals of endpoints that ask for keys."""
LIMITED: Final[Mapping[str, str]] = {
    "retry-after": "Seconds until it is worth asking again.",
    "ratelimit-policy": "The limit that was reached: `q` in a window of `w` seconds, or `q` requests at once.",
    "ratelimit": "What is left of it, and in how many seconds there is more.",
}
"""Headers of a refusal by a limit. The last two come only where a limit of the caller's own was reached."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A value in the URL or in a header."""

    name: str
    place: Literal["path", "query", "header"]
    text: str
    schema: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply that is no refusal. ``media`` are its bodies by content type; empty for a reply without a body."""

    text: str
    media: Mapping[str, Shape] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    """What each of its own headers says."""


def status_of(kind: type[errors.DivisionsError]) -> int:
    """The status that an error of this class is answered with."""
    return next(problem.STATUS[each] for each in kind.__mro__ if each in problem.STATUS)


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one route.

    ``needs_token`` is None where the endpoint decides, and ``needs_key`` tells that it has. ``refusals`` are classes of
    errors, or statuses with their texts, that the handler answers as problem documents.
    """

    method: Literal["get", "post"]
    path: str
    name: str
    tag: str
    text: str
    replies: Mapping[int, Reply]
    refusals: tuple[type[errors.DivisionsError] | tuple[int, str], ...] = ()
    parameters: tuple[Parameter, ...] = ()
    body: Mapping[str, Shape] = field(default_factory=dict)
    needs_body: bool = False
    needs_token: bool | None = False
    needs_key: bool = False
    status_of: Callable[[type[errors.DivisionsError]], int] = status_of

    def refused(self) -> dict[int, list[str]]:
        """The texts of refusals by status, rising."""
        found: dict[int, list[str]] = {}
        for refusal in self.refusals:
            status, text = refusal if isinstance(refusal, tuple) else (self.status_of(refusal), _text_of(refusal))
            found.setdefault(status, []).append(text)
        general = [WIRE, GUARDED] if self.needs_token else [WIRE]
        for status, text in [each for texts in general for each in texts.items()]:
            found.setdefault(status, []).append(text)
        return dict(sorted(found.items()))


def _text_of(kind: type[errors.DivisionsError]) -> str:
    """The first line of the class's description, and its name, which is the problem's ``code``."""
    first = (kind.__doc__ or "").strip().partition("\n\n")[0].partition("\n")[0]
    return f"`{kind.__name__}`: {first}"


NAME_SCHEMA: Final[dict[str, Any]] = {
    "type": "string",
    "pattern": r"^[a-z0-9](?:\.?[a-z0-9_-])*\.?$",
    "minLength": 1,
    "maxLength": MAX_NAME_CHARS,
}
"""`divisions.names.is_name` as a schema."""
ENDPOINT: Final = Parameter("endpoint", "path", "The endpoint's name.", NAME_SCHEMA)
REQUEST_ID: Final = Parameter(
    "x-request-id",
    "header",
    "Comes back in the reply and in the log. Letters, digits and `._:/+=-`, up to 128; anything else is replaced.",
    {"type": "string"},
)
TRACEPARENT: Final = Parameter(
    "traceparent", "header", "W3C Trace Context; it stands in the log of refusals.", {"type": "string"}
)
ANSWERED_BY: Final[Mapping[str, str]] = {
    "x-request-id": "The caller's id of the request, or a new one.",
    "x-model-version": "The versions that answered, separated by commas.",
}
TIMED: Final[Mapping[str, str]] = {
    **ANSWERED_BY,
    "server-timing": "Milliseconds in the queue and in the engine: `queue;dur=…, compute;dur=…`.",
}
