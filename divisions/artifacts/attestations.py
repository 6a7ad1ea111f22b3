"""Where the signed statements about bundles are: beside them in the store, and in the home.

    <home>/attestations/<address>/<name>.dsse.json      <store>/<address>/<name>.dsse.json, or a referrer in a registry

``name`` has the kind and the key, such as ``provenance.0123456789abcdef``: whoever trusts a key finds its statement
without a list. What is read here is believed only after its signature fits.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from divisions.artifacts.store import SUFFIX, ArtifactStore
from divisions.attestation import provenance, sbom
from divisions.attestation.envelope import MAX_BYTES, open_envelope
from divisions.attestation.keys import PublicKey, SigningKey
from divisions.attestation.statement import Statement, read_statement
from divisions.errors import ArtifactStoreError, BundleError

PROVENANCE: Final = "provenance"
SBOM: Final = "sbom"
PREDICATES: Final = {PROVENANCE: provenance.PREDICATE_TYPE, SBOM: sbom.PREDICATE_TYPE}


def attestation_name(kind: str, key: PublicKey) -> str:
    return f"{kind}.{key.id[:16]}"


@dataclass(frozen=True, slots=True)
class Attestations:
    """The statements that a home and its store have. ``store`` is None without ``DIVISIONS_ARTIFACTS``."""

    home: Path
    store: ArtifactStore | None = None

    def verify(
        self, address: str, sha256: str, trusted: Sequence[PublicKey], kind: str = PROVENANCE
    ) -> tuple[PublicKey, Statement]:
        """The statement of this kind about a bundle, and the key that has signed it.

        Raises:
            BundleError: there is none by a trusted key that fits; or the store cannot be asked.
        """
        refusals: list[BundleError] = []
        for key in trusted:
            name = attestation_name(kind, key)
            try:
                for content, is_here in self._found(address, name, key):
                    try:
                        statement = _verified(content, sha256, key, kind, f"the {kind} of bundle {address}")
                    except BundleError as error:
                        refusals.append(error)
                        continue
                    if not is_here:
                        with contextlib.suppress(OSError):  # It is only read from the store again.
                            _write(self._path(address, name), content)
                    return key, statement
            except ArtifactStoreError as error:
                raise BundleError(
                    f"the signature of bundle {address} cannot be read: {error.message}", remedy=error.remedy
                ) from None
        if refusals:
            raise refusals[-1]
        raise BundleError(
            f"bundle {address} has no {kind} that is signed by a trusted key",
            remedy="sign it with one (divisions models sign), or add its key to DIVISIONS_TRUSTED_KEYS",
        )

    def find(self, address: str, sha256: str, trusted: Sequence[PublicKey]) -> dict[str, bytes]:
        """The statements about a bundle that trusted keys have signed, by their names.

        Raises:
            ArtifactStoreError: the store does not answer, or refuses.
        """
        names = ((kind, key, attestation_name(kind, key)) for key in trusted for kind in PREDICATES)
        return {
            name: content
            for kind, key, name in names
            for content, _ in self._found(address, name, key)
            if _fits(content, sha256, key, kind)
        }

    def put(self, address: str, name: str, content: bytes, key: SigningKey) -> bool:
        """Keeps a statement here and in the store; returns whether anything was written.

        Raises:
            BundleError: it cannot be written here.
            ArtifactStoreError: the store does not answer, or refuses.
        """
        path, is_new = self._path(address, name), False
        try:
            if _read(path) != content:
                _write(path, content)
                is_new = True
        except OSError as error:
            raise BundleError(
                f"{path} cannot be written: {error.strerror}", remedy="check the disk's space and permissions"
            ) from None
        if self.store is not None and content not in self.store.read_attestations(address, name, key.public):
            self.store.write_attestation(address, name, content, key)
            is_new = True
        return is_new

    def has(self, address: str, name: str, content: bytes, key: PublicKey) -> bool:
        """Whether exactly this is here, and in the store.

        Raises:
            ArtifactStoreError: the store does not answer, or refuses.
        """
        if _read(self._path(address, name)) != content:
            return False
        return self.store is None or content in self.store.read_attestations(address, name, key)

    def _found(self, address: str, name: str, key: PublicKey) -> Iterator[tuple[bytes, bool]]:
        """What may be the statement: that of this home, then that of the store."""
        here = _read(self._path(address, name))
        if here is not None:
            yield here, True
        if self.store is not None:
            for there in self.store.read_attestations(address, name, key):
                if there != here:
                    yield there, False

    def _path(self, address: str, name: str) -> Path:
        return self.home / "attestations" / address / f"{name}{SUFFIX}"


def _fits(content: bytes, sha256: str, key: PublicKey, kind: str) -> bool:
    try:
        _verified(content, sha256, key, kind, kind)
    except BundleError:
        return False
    return True


def _verified(content: bytes, sha256: str, key: PublicKey, kind: str, what: str) -> Statement:
    return read_statement(open_envelope(content, (key,), what), sha256, PREDICATES[kind], what)


def _read(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError:
        return None


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, draft = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        os.replace(draft, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(draft)
        raise
