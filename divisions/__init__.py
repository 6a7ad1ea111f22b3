"""Divisions: from raw events to a canaried prediction endpoint on one Ray cluster.

This package holds what all others share (`control`: the messages, `schema`, `errors`, `settings`, `pipeline`: the YAML
file), the Python SDK (`sdk`) and the command line (`cli`, `commands`). The command line stands above all other
packages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from divisions.sdk.client import AsyncClient, Client

__version__ = "0.1.0"
__all__ = ["AsyncClient", "Client", "__version__"]


def __getattr__(name: str) -> object:
    # Lazily: a program that needs only a struct or the version must not wait for the client's imports.
    if name in {"AsyncClient", "Client"}:
        from divisions.sdk import client

        return getattr(client, name)
    raise AttributeError(f"module 'divisions' has no attribute {name!r}")
