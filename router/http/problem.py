"""Errors as HTTP: the one table from error class to status, and RFC 9457 bodies.

The extra member ``error`` repeats the detail as a string: clients of the Open Inference Protocol read it.
"""

from __future__ import annotations

from http import HTTPStatus

import msgspec

from divisions import errors

STATUS: dict[type[BaseException], int] = {
    errors.UnknownEndpointError: 404,
    errors.NothingDeployedError: 503,
    errors.MalformedRequestError: 400,
    errors.UnsupportedMediaTypeError: 415,
    errors.InvalidFeaturesError: 422,
    errors.UnknownEntityError: 404,
    errors.OverloadedError: 503,
    errors.DeadlineExceededError: 504,
    errors.ReplicaFailedError: 502,
    errors.RequestError: 400,
    errors.OnlineStoreError: 503,
    errors.UnknownVersionError: 404,
    errors.AccessDeniedError: 403,
    errors.MissingTokenError: 401,
    errors.UnknownTokenError: 401,
    errors.LimitReachedError: 429,
    errors.UnknownPrincipalError: 404,
    errors.TokensUnavailableError: 503,
    errors.AuditUnavailableError: 503,
    errors.LatchedSpecError: 409,
    errors.PolicyRefusedError: 403,
    errors.ConflictError: 409,
    errors.StaleGenerationError: 412,
    errors.IllegalEventError: 409,
    errors.JournalUnavailableError: 503,
    errors.JournalFencedError: 503,
    errors.NoRoomError: 409,
    errors.SchemaMismatchError: 422,
    errors.InvalidCommandError: 422,
    errors.FaultsRefusedError: 403,
    errors.PipelineError: 422,
    errors.BundleError: 422,
    errors.RegistryError: 502,
    errors.NotRunningError: 503,
    errors.DivisionsError: 500,
}


MAX_DETAIL_CHARACTERS = 1_000
_FIRST, _LAST = 600, 300


def status_of(error: BaseException) -> int:
    """The status of the nearest class in the table; 500 for an error that is not ours."""
    return next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 500)


def body(status: int, detail: str, code: str = "") -> bytes:
    """A problem document.

    ``detail`` must not repeat what the caller sent; ``code`` is the name of the error's class, for clients.
    """
    title = HTTPStatus(status).phrase
    if len(detail) > MAX_DETAIL_CHARACTERS or not detail.isprintable():
        detail = _readable(detail)
    members = {"type": "about:blank", "title": title, "status": status, "detail": detail, "error": detail}
    return msgspec.json.encode(members | {"code": code} if code else members)


def _readable(detail: str) -> str:
    """One line of bounded length. Messages from afar may quote a long input; the remedy is at their end."""
    line = "".join(character if character.isprintable() else " " for character in detail)
    return line if len(line) <= MAX_DETAIL_CHARACTERS else f"{line[:_FIRST]} … {line[-_LAST:]}"


def code_of(error: BaseException) -> str:
    """The name of the error's class if it is one of ours."""
    return type(error).__name__ if isinstance(error, errors.DivisionsError) else ""


def detail_of(error: BaseException) -> str:
    """What the caller may read: the text of our own errors, and nothing of unexpected ones."""
    return str(error) if isinstance(error, errors.DivisionsError) else "internal error; the log has the details"
