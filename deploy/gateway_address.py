"""Where the gateways of these settings are found."""

from __future__ import annotations

from divisions.settings import Settings

_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}


def gateway_host(settings: Settings) -> str:
    """The address that processes on this machine reach the gateways at."""
    return _ANY.get(settings.host, settings.host)


def gateway_url(settings: Settings) -> str:
    host = gateway_host(settings)
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"
