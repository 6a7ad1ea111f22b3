"""Reads the issuers whose JWTs are believed: the file of `DIVISIONS_OIDC_FILE`, as YAML (or JSON, which is YAML)."""

from __future__ import annotations

import errno
import ssl
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from divisions.access.issuers import REMEDY, Issuer, issuers_of
from divisions.errors import PipelineError, SettingsError


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
        for what in ("ca_file", "token_file"):
            path = getattr(issuer, what)
            try:
                if path and not Path(path).read_bytes().strip():
                    raise OSError(errno.ENODATA, "it is empty")
                if path and what == "ca_file":
                    ssl.create_default_context(cafile=path)
            except OSError as error:  # of which one is ssl.SSLError
                why = "it has no certificate in PEM" if isinstance(error, ssl.SSLError) else error.strerror
                raise SettingsError(
                    f"DIVISIONS_OIDC_FILE: `{what}` of issuer {issuer.alias!r}, {path}, cannot be used: {why}",
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
