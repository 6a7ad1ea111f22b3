"""Where a repository is, and what a digest is. Pure."""

from __future__ import annotations

import hashlib
import ipaddress
import re
from dataclasses import dataclass
from typing import Final

from divisions.errors import SettingsError

_COMPONENT: Final = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH: Final = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_HOST: Final = re.compile(r"(?:[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?")
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_TAG: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
SCHEMES: Final = {"oci": "https", "oci+http": "http"}
"""The schemes of settings, and what is spoken. Plain HTTP must be asked for."""


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository of a registry; ``host`` has the port, ``path`` no tag."""

    scheme: str
    host: str
    path: str

    def __str__(self) -> str:
        return f"{self.host}/{self.path}"

    @property
    def origin(self) -> str:
        """The registry's own origin; credentials go nowhere else."""
        return f"{self.scheme}://{self.host}"

    def below(self, name: str) -> Repository:
        """The repository ``name`` below this one.

        Raises:
            SettingsError: registries take no such name.
        """
        path = f"{self.path}/{name}" if self.path else name
        if not _PATH.fullmatch(path):
            raise SettingsError(
                f"an OCI registry takes no repository named {path!r}",
                remedy="use lower-case letters and digits, with single `.`, `_` or `-` between them",
            )
        return Repository(self.scheme, self.host, path)


@dataclass(frozen=True, slots=True)
class Reference:
    """An image or artifact: a repository, with a tag, a digest, both, or neither. The digest counts if it is there."""

    repository: Repository
    tag: str = ""
    digest: str = ""

    def __str__(self) -> str:
        return f"{self.repository}{f':{self.tag}' if self.tag else ''}{f'@{self.digest}' if self.digest else ''}"


def names_repository(text: str) -> bool:
    """Whether a setting is meant to name a repository of a registry, well-formed or not.

    >>> names_repository("oci://registry.example/models"), names_repository("s3://bucket/models")
    (True, False)
    """
    return text.partition("://")[0] in SCHEMES


def parse_repository(text: str) -> Repository:
    """The repository that ``oci://host[:port][/path]`` names. ``oci+http`` speaks plain HTTP.

    >>> parse_repository("oci://registry.example:5000/team/models")
    Repository(scheme='https', host='registry.example:5000', path='team/models')

    Raises:
        SettingsError: it is none.
    """
    scheme, _, rest = text.partition("://")
    host, _, path = rest.rstrip("/").partition("/")
    if scheme not in SCHEMES or not _HOST.fullmatch(host) or (path and not _PATH.fullmatch(path)):
        raise SettingsError(
            f"{text[:80]!r} is no repository of an OCI registry",
            remedy="write oci://host:port/path, in lower-case letters, without a tag or credentials",
        )
    return Repository(SCHEMES[scheme], host, path)


def parse_reference(text: str) -> Reference:
    """What ``oci://host[:port]/path[:tag][@sha256:…]`` names. ``oci+http`` speaks plain HTTP.

    >>> parse_reference("oci://registry.example:5000/team/model:3.2").tag
    '3.2'

    Raises:
        SettingsError: it names nothing of a registry.
    """
    place, _, digest = text.partition("@")
    head, slash, last = place.rpartition("/")
    name, colon, tag = last.partition(":")
    if (
        not slash
        or head.endswith(":/")
        or (colon and not _TAG.fullmatch(tag))
        or ("@" in text and not is_digest(digest))
    ):
        raise SettingsError(
            f"{text[:120]!r} names no image of a registry",
            remedy="write oci://host:port/path:tag, or oci://host:port/path@sha256:… with 64 digits",
        )
    return Reference(parse_repository(f"{head}/{name}"), tag, digest)


def is_loopback(host: str) -> bool:
    """Whether a host, with or without a port, is this machine's loopback interface.

    >>> is_loopback("127.0.0.1:5000"), is_loopback("[::1]"), is_loopback("registry.example:5000")
    (True, True, False)
    """
    name = host.partition("]")[0].lstrip("[") if host.startswith("[") else host.partition(":")[0]
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def is_digest(text: str) -> bool:
    """Whether ``text`` is a SHA-256 digest as registries write it."""
    return _DIGEST.fullmatch(text) is not None
