"""Signed envelopes (DSSE v1): what they hold is given out only after the signature of a trusted key fits.

https://github.com/secure-systems-lab/dsse/blob/master/protocol.md. The signature covers the type and the bytes of the
payload as they are, so nothing is parsed before it is verified but the envelope itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from divisions.attestation.keys import PublicKey, SigningKey
from divisions.errors import BundleError

PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
MAX_BYTES: Final = 4 << 20
"""The largest envelope that is read."""
_RESIGN: Final = "sign it again: divisions models sign"


class _Signature(msgspec.Struct, frozen=True):
    keyid: str
    sig: bytes  # msgspec writes and reads bytes as base64


class _Envelope(msgspec.Struct, frozen=True, rename="camel"):
    payload: bytes
    payload_type: str
    signatures: tuple[_Signature, ...]


def seal(payload: bytes, key: SigningKey) -> bytes:
    """The envelope of a statement: the same bytes for the same payload and key."""
    signature = _Signature(key.public.id, key.sign(_signed_bytes(PAYLOAD_TYPE, payload)))
    return msgspec.json.encode(_Envelope(payload, PAYLOAD_TYPE, (signature,)))


def open_envelope(content: bytes, trusted: Sequence[PublicKey], what: str) -> bytes:
    """The payload, if a trusted key has signed it.

    Args:
        what: names the envelope in errors.

    Raises:
        BundleError: it is no envelope, or no signature of a trusted key fits.
    """
    if len(content) > MAX_BYTES:
        raise BundleError(f"{what} is over {MAX_BYTES:,} bytes", remedy=_RESIGN)
    try:
        envelope = msgspec.json.decode(content, type=_Envelope)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BundleError(f"{what} is no signed envelope: {error}", remedy=_RESIGN) from None
    if envelope.payload_type != PAYLOAD_TYPE:
        raise BundleError(f"{what} holds {envelope.payload_type[:80]!r}, no statement", remedy=_RESIGN)
    signed = _signed_bytes(envelope.payload_type, envelope.payload)
    by_id = {key.id: key for key in trusted}
    known = [(by_id[each.keyid], each.sig) for each in envelope.signatures if each.keyid in by_id]
    if not known:
        raise BundleError(
            f"{what} is signed by no trusted key", remedy="sign it with one, or add its key to DIVISIONS_TRUSTED_KEYS"
        )
    if not any(key.verifies(signature, signed) for key, signature in known):
        raise BundleError(f"{what} was changed after it was signed: its signature does not fit", remedy=_RESIGN)
    return envelope.payload


def _signed_bytes(payload_type: str, payload: bytes) -> bytes:
    """The pre-authentication encoding.

    >>> _signed_bytes("http://example.com/HelloWorld", b"hello world")
    b'DSSEv1 29 http://example.com/HelloWorld 11 hello world'
    """
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)
