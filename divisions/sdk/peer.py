"""The gateway from the client's side: its URL, the token to send, and the error that a failed exchange stands for."""

from __future__ import annotations

import ipaddress
import json
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from divisions.errors import (
    AccessDeniedError,
    ClusterError,
    DeadlineExceededError,
    DivisionsError,
    NotRunningError,
    UsageError,
)
from divisions.sdk.calls import Call

T = TypeVar("T")
DEFAULT_URL = "http://127.0.0.1:8000"


class Peer:
    """One gateway. Its only I/O is reading the token."""

    def __init__(self, base_url: str, token: str | None, home: Path | None, timeout_s: float) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise UsageError(f"{base_url[:100]!r} is not a URL of a gateway", remedy=f"write it like {DEFAULT_URL}")
        self.base_url = base_url
        self.timeout_s = timeout_s
        self.is_loopback = _is_loopback(parts.hostname)
        self._token = token
        self._home = home

    def headers(self, call: Call[T]) -> dict[str, str]:
        headers = {"accept": "application/json"}
        if call.body:
            headers["content-type"] = "application/json"
        if call.if_match is not None:
            headers["if-match"] = str(call.if_match)
        if call.version:
            headers["x-divisions-version"] = call.version
        if (call.is_control or call.version) and (token := self._read_token()):
            headers["authorization"] = f"Bearer {token}"
        return headers

    def _read_token(self) -> str:
        # Read it for each call: the cluster may start, or start again, after the client was made.
        token = self._own_token() if self._token is None else self._token
        if not token.isascii() or not token.isprintable():
            raise AccessDeniedError("the token contains characters that are never part of one", remedy="copy it again")
        return token

    def _own_token(self) -> str:
        """``DIVISIONS_TOKEN``, else the token of the home; neither for a gateway that is not named as ours."""
        from divisions.settings import load_settings, secret_of_environment

        settings = load_settings()
        home = self._home or settings.home
        is_ours = self.is_loopback or self.base_url in {settings.gateway, _gateway_of(home)}
        return (secret_of_environment("DIVISIONS_TOKEN") or _token_of(home)) if is_ours else ""

    def failure(self, error: Exception) -> DivisionsError:
        """The error of a failed exchange. ``error`` is httpx's."""
        import httpx

        match error:
            case httpx.ConnectError() | httpx.ConnectTimeout():
                return NotRunningError(f"nothing answers at {self.base_url}", remedy="start it with `divisions up`")
            case httpx.TimeoutException():
                return DeadlineExceededError(
                    f"{self.base_url} did not answer within {self.timeout_s:g} s", remedy="raise timeout_s"
                )
            case _:
                return ClusterError(f"the exchange with {self.base_url} broke off: {error}", remedy="try again")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _gateway_of(home: Path) -> str:
    """The URL that the home's cluster had when it started; empty without one."""
    try:
        return str(json.loads((home / "cluster.json").read_bytes()).get("gateway_url", ""))
    except (OSError, ValueError, AttributeError):
        return ""


def _token_of(home: Path) -> str:
    path = home / "token"
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise AccessDeniedError(f"the token in {path} cannot be read: {error}", remedy="pass token=…") from None
