"""How one logs in to a registry: what it asks for, and whose credentials are at hand.

Credentials come from the file that ``docker login`` writes, or from the credential helpers that it names. Amazon's
registry needs neither: the AWS provider chain gives a password that is valid for 12 hours.
"""

from __future__ import annotations

import base64
import binascii
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec

from divisions.errors import ArtifactStoreError
from divisions.oci.ecr import ecr_host, password

_SCHEME: Final = re.compile(r"\s*(?:,\s*)*([A-Za-z][A-Za-z0-9-]*)(?=[\s,]|$)")
_PARAMETER: Final = re.compile(r'\s*,?\s*([A-Za-z_]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')
_HELPER: Final = re.compile(r"[A-Za-z0-9_.-]+")
_HELPER_TIMEOUT_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user and a password; neither is ever shown."""

    user: str = field(repr=False)
    password: str = field(repr=False)

    @property
    def basic(self) -> str:
        """The value of an ``Authorization`` header (RFC 7617)."""
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()


@dataclass(frozen=True, slots=True)
class Challenge:
    """What a registry asks for: ``basic``, or ``bearer`` with the realm to get a token from."""

    scheme: str
    parameters: Mapping[str, str]


def parse_challenges(header: str) -> list[Challenge]:
    """The challenges of a ``WWW-Authenticate`` header (RFC 9110, 11.6.1), in order; what is malformed is left out.

    >>> parse_challenges('Bearer realm="https://auth.example/token",service="registry"')[0].parameters["service"]
    'registry'
    """
    found, place = [], 0
    while (scheme := _SCHEME.match(header, place)) is not None:
        place = scheme.end()
        parameters: dict[str, str] = {}
        while (parameter := _PARAMETER.match(header, place)) is not None:
            name, quoted, plain = parameter.groups()
            parameters[name.lower()] = plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
            place = parameter.end()
        found.append(Challenge(scheme[1].lower(), parameters))
    return found


def find_credentials(host: str, config: Path) -> Credentials | None:
    """The credentials for a registry, or None if it is to be asked without any.

    Args:
        host: of the registry, with its port.
        config: docker's ``config.json``; it need not exist.

    Raises:
        ArtifactStoreError: the file cannot be read, or a credential helper or AWS refuses.
    """
    found = _configured(host, _read_config(config), config)
    if found is None and (place := ecr_host(host)) is not None:
        return Credentials(*password(host, place.region))
    return found


def _read_config(config: Path) -> Mapping[str, Any]:
    try:
        content = config.read_bytes()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise _unusable(config, error.strerror or "it cannot be read") from None
    try:
        return msgspec.json.decode(content, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise _unusable(config, "it is no JSON object") from None


def _configured(host: str, content: Mapping[str, Any], config: Path) -> Credentials | None:
    helpers = content.get("credHelpers")
    helper = helpers.get(host) if isinstance(helpers, dict) else None
    auths = content.get("auths")
    entry = auths.get(host, auths.get(f"https://{host}")) if isinstance(auths, dict) else None
    if helper is None and entry is not None and not (isinstance(entry, dict) and entry.get("auth")):
        helper = content.get("credsStore")
    if isinstance(helper, str) and helper:
        return _of_helper(helper, host)
    if not isinstance(entry, dict) or not entry.get("auth"):
        return None
    try:
        user, colon, password = base64.b64decode(str(entry["auth"]), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        colon = ""
    if not colon:
        raise _unusable(config, f"its entry for {host} is no base64 text of user:password")
    return Credentials(user, password)


def _of_helper(helper: str, host: str) -> Credentials | None:
    command = f"docker-credential-{helper}"
    if not _HELPER.fullmatch(helper):
        raise _helper_failed(command, "its name is malformed")
    try:
        done = subprocess.run(
            [command, "get"], input=host.encode(), capture_output=True, timeout=_HELPER_TIMEOUT_S, check=False
        )
    except FileNotFoundError:
        raise _helper_failed(command, "it is not on the path") from None
    except (OSError, subprocess.TimeoutExpired):
        raise _helper_failed(command, f"it did not answer within {_HELPER_TIMEOUT_S:g} s") from None
    if done.returncode != 0:
        text = " ".join((done.stdout + done.stderr).decode(errors="replace").split())[:200]
        if "credentials not found" in text:
            return None
        raise _helper_failed(command, text or f"it ended with status {done.returncode}")
    try:
        found = msgspec.json.decode(done.stdout, type=dict[str, Any])
        return Credentials(str(found["Username"]), str(found["Secret"]))
    except (msgspec.MsgspecError, UnicodeDecodeError, KeyError):
        raise _helper_failed(command, "its answer has no Username and Secret") from None


def _unusable(config: Path, why: str) -> ArtifactStoreError:
    return ArtifactStoreError(f"{config} cannot be used: {why}", remedy="log in again with docker or podman login")


def _helper_failed(command: str, why: str) -> ArtifactStoreError:
    return ArtifactStoreError(f"{command} gives no credentials: {why}", remedy="install it, or log in again")
