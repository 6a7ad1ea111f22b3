"""The URL of a PostgreSQL server: what goes to the driver, what goes into messages, and what never does."""

from __future__ import annotations

import re

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from divisions.errors import SettingsError

DEFAULT_SCHEMA = "divisions"
_DRIVER = "postgresql+psycopg"
_SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_EXAMPLE = "DIVISIONS_DATABASE=postgresql+psycopg://USER:PASSWORD@HOST:5432/DATABASE"


class ServerUrl:
    """A URL, taken apart.

    >>> url = ServerUrl("postgresql+psycopg://me:secret@db.example:5432/prod?schema=team_a&sslmode=verify-full")
    >>> url.name, url.schema
    ('db.example:5432/prod, schema team_a', 'team_a')
    >>> url.redact("no password secret for me")
    'no password *** for me'

    Raises:
        SettingsError: it is malformed, or of another database. The message does not repeat it.
    """

    def __init__(self, text: str) -> None:
        try:
            url = make_url(text)
        except (ArgumentError, ValueError):
            raise SettingsError("DIVISIONS_DATABASE is not a URL", remedy=f"write {_EXAMPLE}") from None
        if url.drivername not in {_DRIVER, "postgresql"}:
            raise SettingsError(
                f"DIVISIONS_DATABASE is of the kind {url.drivername!r}, only PostgreSQL is known",
                remedy=f"write {_EXAMPLE}, or leave it empty for a file in the home",
            )
        schema = url.query.get("schema", DEFAULT_SCHEMA)
        if not isinstance(schema, str) or not _SCHEMA.fullmatch(schema):
            raise SettingsError(
                "the schema in DIVISIONS_DATABASE must be one name of small letters, digits and _",
                remedy="write ?schema=NAME once",
            )
        self.schema = schema
        self.for_driver: URL = url.set(drivername=_DRIVER).difference_update_query(["schema"])
        hosts = url.query.get("host", ())
        host = ",".join((hosts,) if isinstance(hosts, str) else hosts) or url.host or "localhost"
        port = f":{url.port}" if url.port else ""
        self.name = f"{host}{port}/{url.database or ''}, schema {schema}"
        secrets = [url.password or ""]
        for name, value in url.query.items():
            if "password" in name:
                secrets.extend((value,) if isinstance(value, str) else value)
        self._secrets = sorted({secret for secret in secrets if secret}, key=len, reverse=True)

    def redact(self, message: str) -> str:
        """A message without the URL's passwords."""
        for secret in self._secrets:
            message = message.replace(secret, "***")
        return message

    def __repr__(self) -> str:
        return f"ServerUrl({self.name!r})"
