"""Where the gateways of these settings are found, and whether they answer."""

from __future__ import annotations

import http.client
from contextlib import closing, suppress
from urllib.parse import urlsplit

from divisions.settings import Settings

_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}


def _host(settings: Settings) -> str:
    """The address that processes on this machine reach the gateways at."""
    return _ANY.get(settings.host, settings.host)


def gateway_url(settings: Settings) -> str:
    host = _host(settings)
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"


def fetch(base_url: str, path: str) -> bytes | None:
    """What a gateway answers to a GET; None unless that is a 200 and comes within five seconds."""
    address = urlsplit(base_url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port or 80, timeout=5.0)
    with closing(connection), suppress(OSError, http.client.HTTPException):
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read()
        return body if response.status == 200 else None
    return None


def answers_ok(base_url: str, path: str) -> bool:
    """Whether a gateway answers a GET with 200."""
    return fetch(base_url, path) is not None
