"""The gateway from the client's side: its URL, the token to send, and the error that a failed exchange stands for."""

from __future__ import annotations

import ipaddress
import json
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import SplitResult, urlsplit

from divisions.errors import (
    AccessDeniedError,
    ClusterError,
    DeadlineExceededError,
    DivisionsError,
    NotRunningError,
    SettingsError,
    UsageError,
    reason_of,
)
from divisions.sdk.calls import Call
from divisions.traces.current import current_traceparent

if TYPE_CHECKING:
    from divisions.settings import Settings

T = TypeVar("T")
Authorities = str | Path | ssl.SSLContext | None
"""A file of them, or a TLS context that knows them."""
DEFAULT_URL = "http://127.0.0.1:8000"
UNAUTHORIZED = 401


class Peer:
    """One gateway. Its only I/O is reading the token."""

    def __init__(
        self, base_url: str | None, token: str | None, home: Path | None, timeout_s: float, ca: Authorities = None
    ) -> None:
        if base_url is None:
            base_url = _usual_gateway(home)
        if not timeout_s > 0:  # NaN is not, either
            raise UsageError(f"timeout_s must be above 0, got {timeout_s}", remedy="the default is 10 s")
        parts = _split(base_url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise UsageError(f"{base_url[:100]!r} is not a URL of a gateway", remedy=f"write it like {DEFAULT_URL}")
        self.base_url = base_url
        self.timeout_s = timeout_s
        self.is_loopback = _is_loopback(parts.hostname)
        self._token = token
        self._home = home
        self._ca = ca
        self._pinned: ssl.SSLContext | None = None
        self._keyed: set[str] = set()
        """Paths of endpoints that ask for keys."""

    def options(self) -> dict[str, Any]:
        """Of httpx's client. Requests to this machine must not go through a proxy that the environment names."""
        return {
            "base_url": self.base_url,
            "timeout": self.timeout_s,
            "trust_env": not self.is_loopback,
            "verify": self.verify(),
        }

    def verify(self) -> ssl.SSLContext | bool:
        """What httpx checks the gateway's certificate with.

        The given authorities; else, for the home's own gateway, the certificate that it has noted there; else those of
        ``DIVISIONS_TLS_CA``; else the system's.

        Raises:
            SettingsError: the file of authorities cannot be used.
        """
        if not self.base_url.startswith("https:"):
            return True
        from divisions.certificates.pinned import pinned_context
        from divisions.settings import load_settings

        settings = load_settings()
        if isinstance(self._ca, ssl.SSLContext):
            return self._ca
        if self._ca is None and self._is_here(settings):
            self._pinned = pinned_context(self._home or settings.home)
        if self._pinned is not None:
            return self._pinned
        ca = self._ca or settings.tls_ca
        return trusting(ca) if ca else True

    def trusts_anew(self, error: Exception) -> bool:
        """Whether the home's gateway has noted its certificate: a request that was not sent may be sent again."""
        from divisions.certificates.pinned import trust_served
        from divisions.settings import load_settings

        if self._pinned is None or not certificate_fault(error):
            return False
        num_known = self._pinned.cert_store_stats()["x509"]
        trust_served(self._pinned, self._home or load_settings().home)
        return num_known < self._pinned.cert_store_stats()["x509"]  # else it would be refused again, for ever

    def _is_here(self, settings: Settings) -> bool:
        """Whether it is the home's gateway on this machine. Those of other machines may have other certificates."""
        host = urlsplit(self.base_url).hostname or ""
        is_ours = self.base_url.rstrip("/") == _gateway_of(self._home or settings.home).rstrip("/")
        return is_ours and (self.is_loopback or host in {*settings.hosts, settings.node_host})

    def has_key(self, call: Call[T]) -> bool:
        """Whether a prediction that was refused without a token can be asked for again with one.

        The token goes to endpoints that ask for it, and to no other.
        """
        if call.is_control or call.version or call.path in self._keyed or not self._read_token():
            return False
        self._keyed.add(call.path)
        return True

    def headers(self, call: Call[T]) -> dict[str, str]:
        headers = {"accept": "application/json"}
        if traceparent := current_traceparent():
            headers["traceparent"] = traceparent
        if call.body:
            headers["content-type"] = "application/json"
        if call.if_match is not None:
            headers["if-match"] = str(call.if_match)
        if call.version:
            headers["x-divisions-version"] = call.version
        if (call.is_control or call.version or call.path in self._keyed) and (token := self._read_token()):
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
        from divisions.environment import secret_of_environment
        from divisions.settings import load_settings

        settings = load_settings()
        home = self._home or settings.home
        is_ours = self.is_loopback or self.base_url in {settings.gateway, _gateway_of(home)}
        return (secret_of_environment("DIVISIONS_TOKEN") or _token_of(home)) if is_ours else ""

    def failure(self, error: Exception) -> DivisionsError:
        """The error of a failed exchange. ``error`` is httpx's."""
        import httpx

        if fault := certificate_fault(error):
            return ClusterError(
                f"the certificate of {self.base_url} is not trusted: {fault}", remedy=_certificate_remedy(fault)
            )
        match error:
            case httpx.ConnectError() if _speaks_no_tls(error):
                return ClusterError(f"what answers at {self.base_url} has no TLS", remedy="write http://")
            case httpx.RemoteProtocolError() if self.base_url.startswith("http:"):
                return ClusterError(
                    f"{self.base_url} has closed the connection without an answer",
                    remedy="try again; write https:// if it has TLS",
                )
            case httpx.ConnectError() | httpx.ConnectTimeout():
                return NotRunningError(f"nothing answers at {self.base_url}", remedy=self._way_to_start())
            case httpx.TimeoutException():
                return DeadlineExceededError(
                    f"{self.base_url} did not answer within {self.timeout_s:g} s", remedy="raise timeout_s"
                )
            case _:
                return ClusterError(f"the exchange with {self.base_url} broke off: {error}", remedy="try again")

    def _way_to_start(self) -> str:
        from divisions.settings import load_settings

        home = self._home or load_settings().home
        known = _gateway_of(home)
        if not (self.is_loopback or self.base_url == known):
            return "start it with `divisions up` on its machine, or check the address"
        if known and known.rstrip("/") != self.base_url.rstrip("/"):
            return f"the gateway of the home {home} is {known}: ask that, or check the address"
        return (
            f"start the cluster of the home {home} with `divisions up`; if another home's is up, name that home in "
            "DIVISIONS_HOME"
        )


def _split(url: str) -> SplitResult:
    """Raises: UsageError: it has a password or user in it, which errors and logs would repeat."""
    try:
        parts = urlsplit(url)
        has_credentials = parts.username is not None or parts.password is not None
    except ValueError:
        raise UsageError("the gateway's URL is malformed", remedy=f"write it like {DEFAULT_URL}") from None
    if has_credentials:
        raise UsageError(
            "the gateway's URL has credentials in it", remedy="leave them out; the token is DIVISIONS_TOKEN or token=…"
        )
    return parts


def trusting(ca: str | Path) -> ssl.SSLContext:
    """Trusts the authorities of a PEM file, and no others.

    Raises:
        SettingsError: it has none.
    """
    try:
        context = ssl.create_default_context(cafile=str(ca))
    except (OSError, ssl.SSLError) as error:
        reason = "it has no certificate" if isinstance(error, ssl.SSLError) else error.strerror
        raise SettingsError(
            f"the authorities in {ca} cannot be used: {reason}", remedy="name a file of certificates in PEM"
        ) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def certificate_fault(error: BaseException | None) -> str:
    """Why a certificate was not trusted; empty if the exchange failed for another reason."""
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return str(cause.verify_message or cause.reason)
    return ""


def _certificate_remedy(fault: str) -> str:
    """
    >>> _certificate_remedy("Hostname mismatch, certificate is not valid for 'localhost'.")
    'ask it by a name that its certificate has'
    >>> _certificate_remedy("certificate has expired")
    "have it renewed, or check this machine's clock"
    """
    if "not valid for" in fault:
        return "ask it by a name that its certificate has"
    if fault in {"certificate has expired", "certificate is not yet valid"}:
        return "have it renewed, or check this machine's clock"
    return "name the file of its authority with --ca, ca=… or DIVISIONS_TLS_CA"


def _speaks_no_tls(error: BaseException) -> bool:
    return any(
        isinstance(cause, ssl.SSLError) and cause.reason in {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"}
        for cause in _causes(error)
    )


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _usual_gateway(home: Path | None) -> str:
    """The URL that ``DIVISIONS_GATEWAY`` gives, else that of the home's cluster, else where one of this machine would
    listen."""
    from divisions.gateway_address import gateway_url
    from divisions.settings import load_settings

    settings = load_settings()
    return settings.gateway or _gateway_of(home or settings.home) or gateway_url(settings)


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
        raise AccessDeniedError(
            f"the token in {path} cannot be read: {reason_of(error)}", remedy="pass token=…"
        ) from None
