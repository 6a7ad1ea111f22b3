"""The store of bundles that all machines reach: a shared folder, or a prefix of S3.

    <store>/<model>/<first 16 digits of the SHA-256>/{model.onnx, reference.json, …, manifest.json}

The manifest is written last. A bundle without one is not there yet, and whoever reads a bundle checks every byte
against the SHA-256 of the record. So neither a killed writer nor a bad disk can put a wrong model into service.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from divisions.attestation.envelope import MAX_BYTES
from divisions.bundle import MANIFEST
from divisions.errors import ArtifactStoreError, DivisionsError, SettingsError
from divisions.s3 import s3_filesystem

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

    from divisions.attestation.keys import PublicKey, SigningKey
    from divisions.settings import S3Settings

SUFFIX = ".dsse.json"
"""Of the files of signed statements."""


class ArtifactStore(Protocol):
    """Files by address. Every method raises `ArtifactStoreError` if the store does not answer, or refuses."""

    @property
    def name(self) -> str: ...

    def has(self, address: str, file: str) -> bool: ...

    def read(self, address: str, file: str) -> bytes | None:
        """The file's bytes; None if it is not there."""

    def write(self, address: str, files: Sequence[Path]) -> None:
        """Copies files, in this order. What is there already is replaced."""

    def remove(self, address: str) -> None:
        """Removes a bundle with its statements, its manifest first. One that is not there is no error."""

    def read_attestations(self, address: str, name: str, key: PublicKey) -> list[bytes]:
        """The statements of a name about a bundle that ``key`` may have signed. A store may keep several."""

    def write_attestation(self, address: str, name: str, content: bytes, key: SigningKey) -> None:
        """Puts a statement, signed by ``key``, beside a bundle that is there."""


@dataclass(frozen=True, slots=True)
class FileSystemStore:
    """A store in a file system of Arrow's. ``name`` is the value of ``DIVISIONS_ARTIFACTS``.

    Files over ``max_bytes`` are refused before they are read: they are checked only when they are in memory.
    """

    name: str
    filesystem: FileSystem
    root: str
    max_bytes: int = 10_000_000_000

    def has(self, address: str, file: str) -> bool:
        return self._size(address, file) is not None

    def read(self, address: str, file: str) -> bytes | None:
        return self._read(address, file, self.max_bytes)

    def _size(self, address: str, file: str) -> int | None:
        """Of a file that is there."""
        from pyarrow.fs import FileType

        try:
            found = self.filesystem.get_file_info(self.path(address, file))
        except OSError as error:
            raise self.broken(error) from None
        return int(found.size) if found.type == FileType.File else None

    def _read(self, address: str, file: str, max_bytes: int) -> bytes | None:
        size = self._size(address, file)
        if size is None:
            return None
        if size > max_bytes:
            raise ArtifactStoreError(
                f"{self.name}: {file} of {address} has {size:,} bytes, over the {max_bytes:,} that it may have",
                remedy="put the right file there, or raise DIVISIONS_ARTIFACT_CACHE_MB",
            )
        try:
            with self.filesystem.open_input_stream(self.path(address, file), compression=None) as source:
                return bytes(source.read())
        except OSError as error:
            raise self.broken(error) from None

    def write(self, address: str, files: Sequence[Path]) -> None:
        try:
            # In S3 a folder is a part of a key. Creating one there would ask for the right to list buckets.
            if self.filesystem.type_name == "local":
                self.filesystem.create_dir(self.path(address), recursive=True)
            for file in files:
                with self.filesystem.open_output_stream(self.path(address, file.name), compression=None) as sink:
                    sink.write(file.read_bytes())
        except OSError as error:
            raise self.broken(error) from None

    def remove(self, address: str) -> None:
        from pyarrow.fs import FileSelector

        try:
            if self.has(address, MANIFEST):
                self.filesystem.delete_file(self.path(address, MANIFEST))
            for found in self.filesystem.get_file_info(FileSelector(self.path(address), allow_not_found=True)):
                self.filesystem.delete_file(found.path)
            if self.filesystem.type_name == "local":
                self.filesystem.delete_dir(self.path(address))
        except FileNotFoundError:  # somebody else removes it, too
            return
        except OSError as error:
            raise self.broken(error) from None

    def read_attestations(self, address: str, name: str, key: PublicKey) -> list[bytes]:
        found = self._read(address, f"{name}{SUFFIX}", MAX_BYTES)
        return [] if found is None else [found]

    def write_attestation(self, address: str, name: str, content: bytes, key: SigningKey) -> None:
        path = self.path(address, f"{name}{SUFFIX}")
        # Elsewhere, such as in S3, a file appears when it is whole.
        draft = f"{path}.{uuid.uuid4().hex[:8]}.draft" if self.filesystem.type_name == "local" else path
        try:
            if draft != path:
                self.filesystem.create_dir(self.path(address), recursive=True)
            with self.filesystem.open_output_stream(draft, compression=None) as sink:
                sink.write(content)
            if draft != path:
                self.filesystem.move(draft, path)
        except OSError as error:
            raise self.broken(error) from None

    def path(self, *parts: str) -> str:
        return "/".join((self.root, *parts))

    def broken(self, error: OSError) -> ArtifactStoreError:
        text = " ".join(str(error).partition("; Details:")[0].split())[:200]
        return ArtifactStoreError(
            f"the artifact store {self.name} does not answer, or refuses: {text}",
            remedy="check DIVISIONS_ARTIFACTS, and its credentials or permissions on this machine",
        )


def open_store(artifacts: str, s3: S3Settings, max_bytes: int = 10_000_000_000) -> FileSystemStore | None:
    """The store that ``DIVISIONS_ARTIFACTS`` names; None if it is empty. Opens no connection.

    Args:
        max_bytes: the largest file that is read.

    Raises:
        SettingsError: it is neither ``s3://bucket/prefix`` nor an absolute path, or the endpoint of S3 is no URL.
    """
    if not artifacts:
        return None
    scheme, separator, rest = artifacts.partition("://")
    if not separator and Path(artifacts).is_absolute():
        from pyarrow.fs import LocalFileSystem

        return FileSystemStore(artifacts, LocalFileSystem(), artifacts.rstrip("/"), max_bytes)
    if scheme == "s3" and rest.strip("/") and "@" not in rest:
        try:
            return FileSystemStore(artifacts, s3_filesystem(s3), rest.strip("/"), max_bytes)
        except DivisionsError as error:
            raise SettingsError(error.message, remedy=error.remedy) from None
    raise SettingsError(
        "DIVISIONS_ARTIFACTS must be s3://bucket/prefix, oci://registry/path or an absolute path,"
        f" got {artifacts[:80]!r}",
        remedy="set it to a folder or bucket that every machine of the cluster reaches, or unset it on one machine",
    )
