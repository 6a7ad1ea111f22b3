"""Ed25519 keys: a private one that signs, and the public ones that are trusted.

A public key is written ``ed25519:`` and the base64 of its 32 bytes, so that a list of them fits into a setting. The
private key is PEM (PKCS #8), in a file that only its owner can read, or in ``DIVISIONS_SIGNING_KEY``.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from divisions.environment import secret_of_environment
from divisions.errors import ConflictError, SettingsError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SIGNING_KEY: Final = "signing_key.pem"
"""The file of the home that has the private key."""
_VARIABLE: Final = "DIVISIONS_SIGNING_KEY"
_PREFIX: Final = "ed25519:"
_NUM_BYTES: Final = 32
_MAX_BYTES: Final = 16_384


@dataclass(frozen=True, slots=True)
class PublicKey:
    """The 32 bytes of a public key."""

    raw: bytes

    @property
    def id(self) -> str:
        """What signatures name it by."""
        return hashlib.sha256(self.raw).hexdigest()

    def verifies(self, signature: bytes, content: bytes) -> bool:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, content)
        except InvalidSignature:
            return False
        return True

    @property
    def pem(self) -> bytes:
        """As other programs read it (SubjectPublicKeyInfo)."""
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        return Ed25519PublicKey.from_public_bytes(self.raw).public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def __str__(self) -> str:
        return _PREFIX + base64.b64encode(self.raw).decode()


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key; it is never shown."""

    _key: Ed25519PrivateKey

    @property
    def public(self) -> PublicKey:
        return PublicKey(self._key.public_key().public_bytes_raw())

    def sign(self, content: bytes) -> bytes:
        return self._key.sign(content)

    @property
    def pem(self) -> bytes:
        from cryptography.hazmat.primitives import serialization

        return self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    def __repr__(self) -> str:
        return f"SigningKey({self.public})"


def new_signing_key() -> SigningKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return SigningKey(Ed25519PrivateKey.generate())


def parse_public_key(text: str) -> PublicKey:
    """The key that a setting names.

    >>> str(parse_public_key("ed25519:" + "A" * 43 + "="))
    'ed25519:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA='

    Raises:
        SettingsError: it is none.
    """
    try:
        raw = base64.b64decode(text.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if not text.startswith(_PREFIX) or len(raw) != _NUM_BYTES:
        raise SettingsError(
            f"{text[:80]!r} is no public key", remedy="write what `divisions keys show` prints, ed25519:…"
        )
    return PublicKey(raw)


def parse_trusted_keys(texts: Sequence[str]) -> tuple[PublicKey, ...]:
    """Raises: SettingsError: one of ``DIVISIONS_TRUSTED_KEYS`` is no key."""
    return tuple(dict.fromkeys(parse_public_key(text) for text in texts))


def find_signing_key(home: Path) -> SigningKey | None:
    """The private key to sign with: that of ``DIVISIONS_SIGNING_KEY`` (PEM, or the path of a file), else the home's.

    Raises:
        SettingsError: there is one that cannot be used.
    """
    given = secret_of_environment(_VARIABLE)
    if given.startswith("-----BEGIN"):
        return _read(given.encode(), _VARIABLE)
    path = Path(given) if given else home / SIGNING_KEY
    if not given and not path.exists():
        return None
    try:
        with path.open("rb") as file:
            return _read(file.read(_MAX_BYTES), str(path))
    except OSError as error:
        raise SettingsError(
            f"the signing key {path} cannot be read: {error.strerror}", remedy=f"check {_VARIABLE}"
        ) from None


def signing_key(home: Path) -> SigningKey:
    """The private key to sign with.

    Raises:
        SettingsError: there is none, or it cannot be used.
    """
    found = find_signing_key(home)
    if found is None:
        raise SettingsError("there is no signing key", remedy=f"make one (divisions keys create), or set {_VARIABLE}")
    return found


def write_signing_key(path: Path, key: SigningKey) -> None:
    """Writes a new file, whole or not at all, that only its owner can read.

    Raises:
        ConflictError: there is a file already.
        SettingsError: it cannot be written.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(key.pem)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)  # unlike a rename, it replaces nothing
        except FileExistsError:
            raise ConflictError(
                f"{path} exists", remedy="move it away first; what it signed is trusted as long as its public key is"
            ) from None
    except OSError as error:
        raise SettingsError(f"{path} cannot be written: {error.strerror}", remedy="choose another place") from None
    finally:
        with contextlib.suppress(OSError):
            draft.unlink()


def _read(content: bytes, where: str) -> SigningKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    try:
        key = serialization.load_pem_private_key(content, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise SettingsError(
            f"{where} has no Ed25519 private key without a passphrase (PEM)",
            remedy="make one: divisions keys create",
        )
    return SigningKey(key)
