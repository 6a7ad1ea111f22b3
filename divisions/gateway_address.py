"""The URL at which processes on a machine reach its gateways."""

from __future__ import annotations

from divisions.settings import Settings

_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}


def gateway_url(settings: Settings) -> str:
    """
    >>> from pathlib import Path
    >>> gateway_url(Settings(Path("/home"), host="::", port=8443, tls_cert="/tls.crt", tls_key="/tls.key"))
    'https://[::1]:8443'
    """
    host = _ANY.get(settings.hosts[0], settings.hosts[0])
    return f"{settings.scheme}://{f'[{host}]' if ':' in host else host}:{settings.port}"
