"""Reads the issuers whose JWTs are believed: the file of `DIVISIONS_OIDC_FILE`, as YAML (or JSON, which is YAML)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from divisions.access.issuers import REMEDY, Issuer, issuers_of
from divisions.errors import PipelineError, SettingsError
from router.gateway.jwks_fetch import KeysUnreadError, authorities_of, token_of


def read_issuers(path: str) -> tuple[Issuer, ...]:
    """The issuers of a file; none if no file is named.

    Raises:
        SettingsError: it cannot be read, or something in it makes no sense.
    """
    if not path:
        return ()
    from divisions.pipeline.yaml_nodes import MAX_BYTES, read_nodes

    try:
        with Path(path).open("rb") as file:
            text = file.read(MAX_BYTES + 1).decode()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no UTF-8"
        raise SettingsError(
            f"DIVISIONS_OIDC_FILE, {path}, cannot be read: {why}", remedy="every node needs it, readable for its user"
        ) from None
    try:
        return issuers_of(_plain(read_nodes(text, path)))
    except PipelineError as error:
        where, remedy = (f", line {error.line}", error.remedy) if error.line else ("", REMEDY)
        raise SettingsError(f"DIVISIONS_OIDC_FILE, {path}{where}: {error.message}", remedy=remedy) from None
    except SettingsError as error:
        raise SettingsError(f"{path}: {error.message}", remedy=error.remedy) from None


def check_files(issuers: Iterable[Issuer]) -> None:
    """Reads the files that issuers name, as a gateway does later, which can only log what is wrong.

    Raises:
        SettingsError: one cannot be used.
    """
    for issuer in issuers:
        try:
            if issuer.ca_file:
                authorities_of(issuer.ca_file)
            if issuer.token_file:
                token_of(issuer.token_file)
        except KeysUnreadError as error:
            raise SettingsError(
                f"DIVISIONS_OIDC_FILE: issuer {issuer.alias!r}: {error}",
                remedy="every node needs it, readable for its user",
            ) from None


def _plain(node: Any) -> Any:
    """A node as mappings, lists and texts."""
    from divisions.pipeline.yaml_nodes import Mapping, Scalar

    if isinstance(node, Scalar):
        return node.text
    if isinstance(node, Mapping):
        return {entry.key.text: _plain(entry.value) for entry in node.entries}
    return [_plain(item) for item in node.items]
