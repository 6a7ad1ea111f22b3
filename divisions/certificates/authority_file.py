"""Where the authority is kept: ``<home>/channel_ca.pem``. `up` makes it, or copies a given file.

It goes to each node, because the controller may start on any of them. Every node may ask for any certificate anyway.
"""

from __future__ import annotations

import os
from pathlib import Path

from divisions.certificates.authority import MIN_REST_S, Authority, new_authority, read_authority
from divisions.certificates.names import AUTHORITY
from divisions.errors import SettingsError


def obtain_authority(home: Path, given: str, now_s: float) -> Authority:
    """The given authority, else the home's; makes one if there is none, or if it soon expires.

    Args:
        home: the folder of all state.
        given: path of a file with key and certificate; empty for none.
        now_s: the time since 1970.

    Raises:
        SettingsError: a file cannot be read, or has no authority that is valid.
    """
    if given:
        authority = _read(Path(given))
        if authority.rest_s(now_s) <= 0:
            raise SettingsError(f"the authority in {given} has expired", remedy="renew it")
        _write(home / AUTHORITY, authority.pem)
        return authority
    path = home / AUTHORITY
    if path.is_file():
        authority = _read(path)
        path.chmod(0o600)
        if authority.rest_s(now_s) >= MIN_REST_S:
            return authority
    authority = new_authority(now_s)
    _write(path, authority.pem)
    return authority


def require_same_authority(home: Path, given: str) -> None:
    """Checks that a given file has the home's authority, if perhaps renewed: what runs takes no other's certificates.

    Args:
        home: of a cluster that runs; one without an authority may get any.
        given: path of a file with key and certificate; empty for none.

    Raises:
        SettingsError: it has another one.
    """
    path = home / AUTHORITY
    if given and path.is_file() and not _read(Path(given)).is_same_as(_read(path)):
        raise SettingsError(
            f"the authority in {given} is not the one of the cluster that runs",
            remedy="run `divisions down` first: gateways and replicas change their authority only when they start anew",
        )


def _read(path: Path) -> Authority:
    try:
        return read_authority(path.read_bytes(), path)
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}", remedy="see DIVISIONS_CHANNEL_CA") from None


def _write(path: Path, secret: bytes) -> None:
    """Whole or not at all, readable by its owner alone from its first byte."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.unlink(missing_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(secret)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise SettingsError(f"{path} cannot be written: {error.strerror}", remedy="make room in the home") from None
