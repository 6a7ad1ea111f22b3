"""Files of runs that are not finished: training rows and checkpoints, where every node of a cluster reaches them.

They lie beside the bundles of ``DIVISIONS_ARTIFACTS``, or in the home without it, and are removed when their run ends:

    <store>/_runs/<pipeline>/<folder>/…/<file>

No model's name begins with ``_``, so no bundle's address is below it. A file of a killed writer may be there in part.
So a name holds the start of the SHA-256 of its content (`named`), or the reader knows the whole hash from elsewhere.
"""

from __future__ import annotations

import contextlib
import hashlib
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from divisions.artifacts.store import FileSystemStore, open_store
from divisions.oci.reference import names_repository

if TYPE_CHECKING:
    from divisions.settings import Settings

RUNS = "_runs"
_CHUNK_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class StoredFile:
    """``path`` is below the folder that was listed. ``written_s`` is in seconds since the Unix epoch."""

    path: str
    num_bytes: int
    written_s: float


@dataclass(frozen=True, slots=True)
class WorkStore:
    """Files below ``_runs``. Every method raises `ArtifactStoreError` if the store does not answer, or refuses.

    ``is_shared``: whether all nodes of a cluster reach it. The home's own folder is on one disk.
    """

    files: FileSystemStore
    is_shared: bool

    @property
    def name(self) -> str:
        return self.files.name

    def listed(self, folder: str) -> list[StoredFile]:
        """All files below a folder; none if it does not exist."""
        from pyarrow.fs import FileSelector, FileType

        base = self.files.path(RUNS, folder)
        try:
            selector = FileSelector(base, allow_not_found=True, recursive=True)
            found = self.files.filesystem.get_file_info(selector)
        except OSError as error:
            raise self.files.broken(error) from None
        return [
            StoredFile(info.path.removeprefix(base).lstrip("/"), info.size or 0, (info.mtime_ns or 0) / 1e9)
            for info in found
            if info.type == FileType.File
        ]

    def put(self, folder: str, name: str, content: bytes | Path) -> None:
        """Writes a file. What is there already is replaced; its readers go on with what they have opened."""
        filesystem, path = self.files.filesystem, self.files.path(RUNS, folder, name)
        try:
            if filesystem.type_name != "local":  # such as S3, where a file appears when it is whole
                self._write(path, content)
                return
            filesystem.create_dir(self.files.path(RUNS, folder), recursive=True)
            draft = self.files.path(RUNS, folder, f".{name}-{uuid.uuid4().hex[:8]}.draft")
            try:
                self._write(draft, content)
                filesystem.move(draft, path)
            except BaseException:
                with contextlib.suppress(OSError):
                    filesystem.delete_file(draft)
                raise
        except OSError as error:
            raise self.files.broken(error) from None

    def _write(self, path: str, content: bytes | Path) -> None:
        with self.files.filesystem.open_output_stream(path, compression=None) as sink:
            if isinstance(content, bytes):
                sink.write(content)
                return
            with content.open("rb") as source:
                while chunk := source.read(_CHUNK_BYTES):
                    sink.write(chunk)

    def read(self, folder: str, name: str) -> bytes | None:
        """The file's bytes; None if it is not there."""
        return self.files.read(f"{RUNS}/{folder}", name)

    def fetch(self, folder: str, name: str, place: Path) -> str:
        """Copies a file to ``place``, with bounded memory; returns its SHA-256, which is empty if it is not there."""
        if not self.files.has(f"{RUNS}/{folder}", name):
            return ""
        digest = hashlib.sha256()
        try:
            stream = self.files.filesystem.open_input_stream(self.files.path(RUNS, folder, name), compression=None)
        except OSError as error:
            raise self.files.broken(error) from None
        with stream as source, place.open("wb") as sink:
            while True:
                try:
                    chunk = source.read(_CHUNK_BYTES)
                except OSError as error:
                    raise self.files.broken(error) from None
                if not chunk:
                    return digest.hexdigest()
                digest.update(chunk)
                sink.write(chunk)

    def remove(self, folder: str, names: list[str]) -> None:
        """Removes files. One that is not there is no error."""
        for name in names:
            try:
                self.files.filesystem.delete_file(self.files.path(RUNS, folder, name))
            except FileNotFoundError:
                continue
            except OSError as error:
                raise self.files.broken(error) from None

    def remove_folder(self, folder: str) -> None:
        """Removes a folder with all that is in it. One that is not there is no error."""
        try:
            self.files.filesystem.delete_dir(self.files.path(RUNS, folder))
        except FileNotFoundError:
            return
        except OSError as error:
            raise self.files.broken(error) from None

    def local_path(self, folder: str, name: str) -> Path | None:
        """Where the file is on this machine's disk, if the store is the home's own folder."""
        return None if self.is_shared else Path(self.files.path(RUNS, folder, name))


def open_work_store(settings: Settings) -> WorkStore:
    """The store that ``DIVISIONS_ARTIFACTS`` names; without it, the home's own folder. Opens no connection.

    An OCI registry keeps what is finished, so with one it is the home's own folder, too.

    Raises:
        SettingsError: ``DIVISIONS_ARTIFACTS`` names no store.
    """
    shared = None if names_repository(settings.artifacts) else open_store(settings.artifacts, settings.s3)
    if shared is not None:
        return WorkStore(shared, is_shared=True)
    from pyarrow.fs import LocalFileSystem

    root = str(settings.home / "training")
    return WorkStore(FileSystemStore(root, LocalFileSystem(), root), is_shared=False)


def named(stem: str, content_sha256: str, suffix: str) -> str:
    """A name that shows whether the file is whole.

    >>> named("epoch-00012", "0123456789abcdef" * 4, ".pt")
    'epoch-00012-0123456789abcdef.pt'
    """
    return f"{stem}-{content_sha256[:16]}{suffix}"
