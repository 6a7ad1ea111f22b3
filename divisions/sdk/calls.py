"""The requests of the client, and how their answers are read. No I/O.

`divisions.sdk.client` sends them over HTTP, blocking; `divisions.sdk.async_client` does so with asyncio.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec

from divisions import errors
from divisions.control import RolloutSpec
from divisions.error_names import BY_NAME
from divisions.house import House
from divisions.names import is_name
from divisions.status import ControllerStatus, RolloutStatus

T = TypeVar("T")

FINAL_PHASES = frozenset({"PROMOTED", "ROLLED_BACK"})
"""Phases in which a rollout no longer changes by itself."""
RESTART_PATIENCE = 60
"""Failed requests in a row, one a second: a cluster that crashed serves again within this time."""


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One request of the HTTP API. ``is_control`` calls carry the token, and so do those that name a ``version``, and
    those to endpoints that have asked for a key.

    ``read`` decodes the answer's body.
    """

    method: str
    path: str
    read: Callable[[bytes], T]
    body: bytes = b""
    is_control: bool = True
    if_match: int | None = None
    version: str = ""


class ServiceStatus(ControllerStatus, frozen=True):
    """The answer to ``GET /api/v2/status``: the state of the controller and of the gateway."""

    gateway: Any = None


class _Rollouts(msgspec.Struct, frozen=True):
    rollouts: tuple[RolloutStatus, ...]


class _Problem(msgspec.Struct, frozen=True):
    """RFC 9457. ``code`` is the error's class, if the gateway sent it."""

    detail: str = ""
    title: str = ""
    code: str = ""


def get_status() -> Call[ServiceStatus]:
    return Call("GET", "/api/v2/status", reader(ServiceStatus))


def get_house() -> Call[House]:
    return Call("GET", "/api/v2/house", reader(House))


def list_rollouts() -> Call[tuple[RolloutStatus, ...]]:
    read = reader(_Rollouts)
    return Call("GET", "/api/v2/rollouts", lambda body: read(body).rollouts)


def get_rollout(endpoint: str) -> Call[RolloutStatus]:
    return Call("GET", f"/api/v2/rollouts/{endpoint_name(endpoint)}", reader(RolloutStatus))


def start_rollout(spec: RolloutSpec, *, is_forced: bool) -> Call[RolloutStatus]:
    query = "?force=1" if is_forced else ""
    return Call("POST", f"/api/v2/rollouts{query}", reader(RolloutStatus), msgspec.json.encode(spec))


def command(
    endpoint: str,
    action: str,
    *,
    generation: int | None,
    to: str | None = None,
    reason: str = "",
    breaks_glass: bool = False,
) -> Call[RolloutStatus]:
    """``pause``, ``resume``, ``promote``, ``abort`` or ``rollback``; only the last takes ``to``.

    ``breaks_glass`` promotes without the policy, for a ``reason``. What is not given is not sent: a gateway of an
    earlier release refuses what it does not know.
    """
    given: dict[str, object] = {"to": to} if action == "rollback" else {}
    given |= {"reason": reason} if reason else {}
    body = to_json(given | ({"break_glass": True} if breaks_glass else {}))
    path = f"/api/v2/rollouts/{endpoint_name(endpoint)}/{action}"
    return Call("POST", path, reader(RolloutStatus), body, if_match=generation)


def scale(
    endpoint: str, replicas: int, *, version: str | None, is_forced: bool, generation: int | None
) -> Call[RolloutStatus]:
    """Sets the number of replicas of one version, or of every version that the endpoint runs."""
    body = to_json({"replicas": replicas, "version": version, "force": is_forced})
    path = f"/api/v2/rollouts/{endpoint_name(endpoint)}/scale"
    return Call("POST", path, reader(RolloutStatus), body, if_match=generation)


def answer(call: Call[T], status: int, headers: Mapping[str, str], body: bytes) -> T:
    """Reads the answer to a call.

    Raises:
        DivisionsError: the class that the status (or the problem's ``code``) stands for.
    """
    if 200 <= status < 300:
        return call.read(body)
    raise _error(call, status, headers, body)


class Watch:
    """Decides which statuses a watcher of a rollout yields, and when it gives up.

    ``patience`` is the number of requests in a row that may fail: a killed controller is back after some seconds, and
    the rollout with it. The first request must not fail.
    """

    def __init__(self, patience: int) -> None:
        self._patience = patience
        self._failures = 0
        self._seen: RolloutStatus | None = None

    @property
    def is_over(self) -> bool:
        return self._seen is not None and self._seen.phase in FINAL_PHASES

    def changed(self, status: RolloutStatus) -> bool:
        """Records a status; returns whether it differs from the previous one."""
        self._failures = 0
        before, self._seen = self._seen, status
        return status != before

    def failed(self, error: errors.DivisionsError) -> None:
        """Records a failed request; raises its error when patience is exhausted."""
        self._failures += 1
        if self._seen is None or self._failures > self._patience:
            raise error


_OF_ANY: dict[int, type[errors.DivisionsError]] = {401: errors.AccessDeniedError, 403: errors.AccessDeniedError}
_OF_PREDICT: dict[int, type[errors.DivisionsError]] = {
    400: errors.MalformedRequestError,
    404: errors.UnknownEntityError,
    422: errors.InvalidFeaturesError,
    429: errors.LimitReachedError,
    502: errors.ReplicaFailedError,
    503: errors.OverloadedError,
    504: errors.DeadlineExceededError,
}
_OF_CONTROL: dict[int, type[errors.DivisionsError]] = {
    400: errors.UsageError,
    404: errors.UnknownVersionError,
    409: errors.ConflictError,
    412: errors.StaleGenerationError,
    422: errors.RolloutError,
    502: errors.ClusterError,
    503: errors.NotRunningError,
    504: errors.DeadlineExceededError,
}


def _error(call: Call[T], status: int, headers: Mapping[str, str], body: bytes) -> errors.DivisionsError:
    try:
        problem = msgspec.json.decode(body, type=_Problem)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        problem = _Problem()
    message = problem.detail or problem.title
    if not message:
        return errors.ClusterError(
            f"{call.method} {call.path} was answered with status {status} and no explanation",
            remedy="check that a Divisions gateway listens at this URL",
        )
    table = _OF_ANY | (_OF_CONTROL if call.is_control else _OF_PREDICT)
    otherwise = errors.ClusterError if call.is_control else errors.RequestError
    kind = BY_NAME.get(problem.code) or table.get(status, otherwise)
    if issubclass(kind, errors.OverloadedError):
        return kind(message, retry_after_s=_seconds(headers.get("retry-after", "")))
    return kind(message)


def _seconds(text: str) -> float:
    return float(text) if re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", text) else 1.0


def endpoint_name(endpoint: str) -> str:
    """Checks an endpoint's name before it becomes part of a path."""
    if not is_name(endpoint):
        raise errors.UsageError(f"{endpoint[:64]!r} is not an endpoint's name", remedy="write it like 'churn'")
    return endpoint


def to_json(value: object) -> bytes:
    """Encodes a body.

    Raises:
        InvalidFeaturesError: the value cannot be encoded as JSON.
    """
    try:
        return msgspec.json.encode(value)
    except (OverflowError, TypeError, UnicodeEncodeError, msgspec.MsgspecError) as error:
        raise errors.InvalidFeaturesError(f"the request is not JSON: {error}", remedy="send plain values") from None


def reader(kind: type[T]) -> Callable[[bytes], T]:
    """A decoder of bodies as ``kind``. Any other body raises `ClusterError`."""

    def read(body: bytes) -> T:
        try:
            return msgspec.json.decode(body, type=kind)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise not_understood(str(error)) from None

    return read


def not_understood(why: str) -> errors.ClusterError:
    return errors.ClusterError(
        f"the answer cannot be understood: {why}", remedy="use a client and a gateway of the same release"
    )
