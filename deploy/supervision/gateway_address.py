"""The URL of the gateways, and whether they answer."""

from __future__ import annotations

import http.client
import ssl
from contextlib import closing, suppress
from urllib.parse import urlsplit

from divisions.settings import Settings

_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}


def _host(settings: Settings) -> str:
    """The address at which processes on this machine reach the gateways."""
    return _ANY.get(settings.hosts[0], settings.hosts[0])


def gateway_url(settings: Settings) -> str:
    host = _host(settings)
    return f"{settings.scheme}://{f'[{host}]' if ':' in host else host}:{settings.port}"


def fetch(base_url: str, path: str) -> bytes | None:
    """The body of a gateway's answer to a GET. None unless it answers 200 within five seconds."""
    address = urlsplit(base_url)
    connection = _connection(address.scheme, address.hostname or "", address.port)
    with closing(connection), suppress(OSError, http.client.HTTPException):
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read()
        return body if response.status == 200 else None
    return None


def _connection(scheme: str, host: str, port: int | None) -> http.client.HTTPConnection:
    if scheme == "https":
        # It asks whether something answers, and sends no secret. Whose certificate it is, `Client` checks.
        unchecked = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        unchecked.check_hostname = False
        unchecked.verify_mode = ssl.CERT_NONE
        return http.client.HTTPSConnection(host, port or 443, timeout=5.0, context=unchecked)
    return http.client.HTTPConnection(host, port or 80, timeout=5.0)


def answers_ok(base_url: str, path: str) -> bool:
    """Whether a gateway answers a GET with 200."""
    return fetch(base_url, path) is not None
