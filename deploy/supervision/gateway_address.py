"""The URL of the gateways, and whether they answer."""

from __future__ import annotations

import http.client
from contextlib import closing, suppress
from urllib.parse import urlsplit

from divisions.settings import Settings

_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}


def _host(settings: Settings) -> str:
    """The address at which processes on this machine reach the gateways."""
    return _ANY.get(settings.hosts[0], settings.hosts[0])


def gateway_url(settings: Settings) -> str:
    host = _host(settings)
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"


def fetch(base_url: str, path: str) -> bytes | None:
    """The body of a gateway's answer to a GET. None unless it answers 200 within five seconds."""
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
