"""Whether gateways answer."""

from __future__ import annotations

import http.client
import ssl
from contextlib import closing, suppress
from urllib.parse import urlsplit


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
