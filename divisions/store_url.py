"""The address of a shared online store: ``redis://[user:password@]host[:port][/database]``. Pure.

No text of an address is in an error, because a part of a password may be wherever a password was written badly.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from divisions.errors import SettingsError

VARIABLE = "DIVISIONS_ONLINE_STORE"
DEFAULT_PORT = 6379
_TLS_BY_SCHEME = {"redis": False, "valkey": False, "rediss": True, "valkeys": True}
_FILES = {"ssl_ca_certs": "ca_file", "ssl_certfile": "certificate_file", "ssl_keyfile": "key_file"}
"""Parameters by the names that Redis' own client gives them, and the fields of `RedisAddress`."""


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """A database of a Redis or Valkey server. ``str`` of it has neither user nor password.

    ``ca_file`` is a file of certificates that the server's is checked against; empty means those of the system.
    ``certificate_file`` and ``key_file`` show the server who we are, if it asks.
    """

    host: str
    port: int = DEFAULT_PORT
    database: int = 0
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    has_tls: bool = False
    ca_file: str = ""
    certificate_file: str = ""
    key_file: str = ""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'rediss' if self.has_tls else 'redis'}://{host}:{self.port}/{self.database}"


def parse_store_url(text: str) -> RedisAddress:
    """The address that a URL names.

    >>> address = parse_store_url("rediss://app:p%40ss@features.example/2?ssl_ca_certs=/etc/ca.pem")
    >>> address.password, address.ca_file, str(address)
    ('p@ss', '/etc/ca.pem', 'rediss://features.example:6379/2')

    Raises:
        SettingsError: it is no such URL.
    """
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise _malformed("its host or port is malformed") from None
    has_tls = _TLS_BY_SCHEME.get(parts.scheme)
    if has_tls is None:
        raise _malformed("its scheme is none of redis, rediss, valkey and valkeys")
    if not host or not host.isprintable() or port == 0:
        raise _malformed("it names no host, or port 0")
    if parts.fragment:
        raise _malformed("it has a `#`")
    return RedisAddress(
        host=host,
        port=port or DEFAULT_PORT,
        database=_database(parts),
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        has_tls=has_tls,
        **_files(parts, has_tls),
    )


def _database(parts: SplitResult) -> int:
    text = parts.path.removeprefix("/") or "0"
    if not (text.isascii() and text.isdigit() and len(text) <= 5):
        raise _malformed("its path is no number of a database")
    return int(text)


def _files(parts: SplitResult, has_tls: bool) -> dict[str, str]:
    try:
        given = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=True)) if parts.query else {}
    except ValueError:
        raise _malformed("its parameters are malformed") from None
    if not given.keys() <= _FILES.keys():
        raise _malformed(f"it has a parameter that is none of {', '.join(_FILES)}")
    if given and not has_tls:
        raise _malformed("it has parameters of TLS, but its scheme is one without TLS")
    if ("ssl_certfile" in given) != ("ssl_keyfile" in given):
        raise _malformed("it has one of ssl_certfile and ssl_keyfile, and they belong together")
    return {_FILES[name]: value for name, value in given.items()}


def _malformed(why: str) -> SettingsError:
    return SettingsError(
        f"{VARIABLE} cannot be used: {why}",
        remedy="write redis://user:password@host:6379/0 or rediss://…, with %-escapes for @ : / ? # % in a password",
    )
