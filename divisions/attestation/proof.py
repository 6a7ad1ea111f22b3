"""What lists of signed statements carry, so that a reader fetches only what a trusted key has put there. Pure.

Anybody who may push to a registry can add statements under any name. A reader that had to fetch each of them could be
kept from the real one by many false ones. The proof is a second, short signature, over the list's own facts.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Final

from divisions.attestation.keys import PublicKey, SigningKey

_CONTEXT: Final = "divisions.attestation.proof.v1"  # No envelope's signed bytes begin like this.


@dataclass(frozen=True, slots=True)
class Listed:
    """A statement in a list: the digest of its subject's manifest, its name, digest and size of its envelope."""

    subject: str
    name: str
    digest: str
    size: int

    @property
    def signed_bytes(self) -> bytes:
        return "\n".join((_CONTEXT, self.subject, self.name, self.digest, str(self.size))).encode()


def write_proof(listed: Listed, key: SigningKey) -> str:
    """The same text for the same statement and key."""
    return _text(listed, key.sign(listed.signed_bytes))


def read_proof(text: str, subject: str, name: str, key: PublicKey) -> Listed | None:
    """What a proof names; None if it is none of this key, for this subject and name."""
    digest, _, rest = text.partition(" ")
    size, _, signature = rest.partition(" ")
    if not (size.isascii() and size.isdecimal() and len(size) < 20):
        return None
    listed = Listed(subject, name, digest, int(size))
    try:
        raw = base64.b64decode(signature, validate=True)
    except (binascii.Error, ValueError):
        return None
    is_canonical = text == _text(listed, raw)
    return listed if is_canonical and key.verifies(raw, listed.signed_bytes) else None


def _text(listed: Listed, signature: bytes) -> str:
    return f"{listed.digest} {listed.size} {base64.b64encode(signature).decode()}"
