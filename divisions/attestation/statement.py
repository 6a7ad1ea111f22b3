"""Statements about a bundle (in-toto Statement v1), and what makes one valid. Pure.

https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md. The subject is the bundle's manifest, whose
SHA-256 is the bundle's identity and which has the SHA-256 of every file.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from divisions.bundle import MANIFEST
from divisions.errors import BundleError

STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"


class Subject(msgspec.Struct, frozen=True):
    name: str
    digest: dict[str, str]


class Statement(msgspec.Struct, frozen=True, rename="camel"):
    """What a predicate of some type says about its subjects."""

    subject: tuple[Subject, ...]
    predicate_type: str
    predicate: dict[str, Any]
    type: str = msgspec.field(name="_type", default=STATEMENT_TYPE)

    def to_json(self) -> bytes:
        """The same bytes for the same statement."""
        return msgspec.json.encode(self, order="deterministic")


def statement_of(address: str, bundle_sha256: str, predicate_type: str, predicate: dict[str, Any]) -> bytes:
    """A statement about a bundle, as bytes."""
    subject = Subject(f"{address}/{MANIFEST}", {"sha256": bundle_sha256})
    return Statement((subject,), predicate_type, predicate).to_json()


def read_statement(payload: bytes, bundle_sha256: str, predicate_type: str, what: str) -> Statement:
    """Reads a verified payload.

    Raises:
        BundleError: it is no statement of this type about this bundle.
    """
    remedy = "sign the bundle again: divisions models sign"
    try:
        found = msgspec.json.decode(payload, type=Statement)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BundleError(f"{what} holds no in-toto statement: {error}", remedy=remedy) from None
    if found.type != STATEMENT_TYPE or found.predicate_type != predicate_type:
        raise BundleError(f"{what} holds a statement of type {found.predicate_type[:80]!r}", remedy=remedy)
    if not any(each.digest.get("sha256") == bundle_sha256 for each in found.subject):
        raise BundleError(f"{what} is about another bundle", remedy=remedy)
    return found
