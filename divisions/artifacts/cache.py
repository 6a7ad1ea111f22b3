"""Opens bundles on this machine, fetches those that it lacks, and publishes those that it made.

Without a store, ``<home>/bundles`` is the only place, and nothing in it is ever removed. With one, it is a cache:

- A bundle is fetched into a draft folder, checked byte by byte, and renamed. A lock lets two replicas fetch it once.
- A bundle that is damaged here is fetched anew. A store that is away stops nobody who has the bundle.
- With trusted keys, a bundle that none of them has signed is not opened (`divisions.artifacts.attestations`).
- The least recently opened bundles go when the folder outgrows its limit, but only if the store has them.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from divisions.artifacts.attestations import Attestations
from divisions.artifacts.local import address_of, bundles_folder, local_bundle
from divisions.artifacts.store import ArtifactStore, FileSystemStore, open_store
from divisions.attestation.keys import PublicKey, parse_trusted_keys
from divisions.bundle import MANIFEST, ONNX, REFERENCE, Manifest, read_bundle
from divisions.clock import Clock, SystemClock
from divisions.errors import ArtifactStoreError, BundleError
from divisions.mlflow_copy import mlflow_folder
from divisions.oci.reference import names_repository
from divisions.settings import Settings

log = logging.getLogger(__name__)

MIN_UNUSED_S = 3_600.0
"""A bundle that was opened later than this is not evicted: a replica may be reading it."""


_RESTORE = "train again, or restore the bundle from the registry's artifacts"


@dataclass(frozen=True, slots=True)
class Bundles:
    """The bundles of one machine. ``store`` is None without ``DIVISIONS_ARTIFACTS``.

    ``trusted`` are the keys of which one must have signed a bundle; without any, signatures do not matter.
    """

    home: Path
    store: ArtifactStore | None = None
    limit_bytes: int = 10_000_000_000
    clock: Clock = field(default_factory=SystemClock)
    trusted: tuple[PublicKey, ...] = ()

    @classmethod
    def of(cls, settings: Settings) -> Bundles:
        """Raises: SettingsError: ``DIVISIONS_ARTIFACTS`` names no store, or a trusted key is none."""
        limit_bytes = settings.artifact_cache_mb * 1_000_000
        store: ArtifactStore | None
        if names_repository(settings.artifacts):
            from divisions.artifacts.oci_store import open_oci_store

            store = open_oci_store(settings.artifacts, settings.docker_config, limit_bytes)
        else:
            store = open_store(settings.artifacts, settings.s3, limit_bytes)
        return cls(settings.home, store, limit_bytes, trusted=parse_trusted_keys(settings.trusted_keys))

    def open(self, recorded: str | Path, sha256: str) -> tuple[Path, Manifest]:
        """The folder and the manifest of a bundle. Every byte was checked.

        Args:
            recorded: the bundle's address, or the path in an older record.
            sha256: the recorded SHA-256.

        Raises:
            BundleError: the bundle is neither here nor in the store, it is damaged, or no trusted key has signed it.
        """
        opened = self._open(recorded, sha256)
        self.require_signed(recorded, sha256)
        return opened

    def require_signed(self, recorded: str | Path, sha256: str) -> None:
        """Raises: BundleError: there are trusted keys, and none has signed the bundle."""
        if self.trusted:
            self.attestations.verify(address_of(recorded), sha256, self.trusted)

    @property
    def attestations(self) -> Attestations:
        return Attestations(self.home, self.store)

    def _open(self, recorded: str | Path, sha256: str) -> tuple[Path, Manifest]:
        folder = local_bundle(self.home, recorded)
        if self.store is None:
            return folder, read_bundle(folder, sha256)
        with self._locked(address_of(recorded)):
            try:
                manifest = read_bundle(folder, sha256)
            except BundleError as error:
                folder = bundles_folder(self.home) / address_of(recorded)
                manifest = self._fetch(self.store, folder, address_of(recorded), sha256, error)
            with contextlib.suppress(OSError):
                os.utime(folder)
        self._evict(self.store)
        return folder, manifest

    def publish(self, folder: Path, sha256: str, *, is_mended: bool = False) -> None:
        """Copies a bundle of this machine to the store, if there is one and it lacks the bundle.

        Args:
            is_mended: whether files that are damaged there are written again; else only the manifest is looked at.

        Raises:
            BundleError: the bundle is damaged.
            ArtifactStoreError: the store does not answer, or refuses.
        """
        if self.store is None:
            return
        address = address_of(folder)
        stored = self.store.read(address, MANIFEST)
        is_there = stored is not None and hashlib.sha256(stored).hexdigest() == sha256
        if is_there and not is_mended:
            return
        manifest = read_bundle(folder, sha256)
        if is_there and all(self._is_whole_in(self.store, address, *file) for file in manifest.files.items()):
            return
        # MLflow's tools read folders and buckets, but no OCI registry.
        if isinstance(self.store, FileSystemStore) and ONNX in manifest.files:
            self._write_for_mlflow(self.store, address, folder)
        self.store.write(address, [folder / name for name in (*manifest.files, MANIFEST)])

    @staticmethod
    def _is_whole_in(store: ArtifactStore, address: str, name: str, sha256: str) -> bool:
        content = store.read(address, name)
        return content is not None and hashlib.sha256(content).hexdigest() == sha256

    @staticmethod
    def _write_for_mlflow(store: FileSystemStore, address: str, folder: Path) -> None:
        try:
            with mlflow_folder(folder) as files:
                store.write(address, files)
        except OSError as error:
            raise BundleError(
                f"bundle {address} cannot be described for MLflow in {tempfile.gettempdir()}: {error.strerror}",
                remedy="check the disk's space, or set TMPDIR",
            ) from None

    def remove(self, recorded: str | Path) -> None:
        """Removes a bundle that no version has any more: from the store, if there is one, and from this machine.

        Raises:
            ArtifactStoreError: the store does not answer, or refuses; nothing is removed here then.
            BundleError: this machine's copy cannot be removed.
        """
        address = address_of(recorded)
        with self._locked(address) if self.store is not None else contextlib.nullcontext():
            if self.store is not None:
                self.store.remove(address)
            for folder in (bundles_folder(self.home) / address, self.home / "attestations" / address):
                try:
                    if folder.exists():
                        (folder / MANIFEST).unlink(missing_ok=True)
                        shutil.rmtree(folder)
                except OSError as error:
                    raise BundleError(
                        f"{folder} cannot be removed: {error.strerror}", remedy="check the disk's permissions"
                    ) from None

    def fetch_reference(self, recorded: str | Path, sha256: str) -> bytes:
        """The ``reference.json`` of a bundle in the store, checked; empty if the bundle has none.

        Raises:
            BundleError: the store has no such bundle, it is damaged, or no trusted key has signed it.
            ArtifactStoreError: the store does not answer, or refuses.
        """
        if self.store is None:
            return b""
        self.require_signed(recorded, sha256)
        address = address_of(recorded)
        data = self.store.read(address, MANIFEST)
        if data is None or hashlib.sha256(data).hexdigest() != sha256:
            what = "no bundle" if data is None else "another bundle"
            raise BundleError(f"{self.store.name} has {what} {address}", remedy=_RESTORE)
        expected = msgspec.json.decode(data, type=Manifest).files.get(REFERENCE)
        if expected is None:
            return b""
        reference = self.store.read(address, REFERENCE)
        if reference is None or hashlib.sha256(reference).hexdigest() != expected:
            raise BundleError(f"{self.store.name}: {REFERENCE} of bundle {address} is damaged", remedy=_RESTORE)
        return reference

    def _fetch(self, store: ArtifactStore, folder: Path, address: str, sha256: str, cause: BundleError) -> Manifest:
        remedy = _RESTORE
        try:
            data = store.read(address, MANIFEST)
            if data is None:
                raise BundleError(f"{cause.message}, and {store.name} has no bundle {address}", remedy=remedy)
            if hashlib.sha256(data).hexdigest() != sha256:
                raise BundleError(f"{store.name} has another bundle {address} than the registered one", remedy=remedy)
            names = msgspec.json.decode(data, type=Manifest).files
            folder.parent.mkdir(parents=True, exist_ok=True)
            with _workspace(folder) as workspace:
                draft = workspace / "draft"
                draft.mkdir()
                for name in names:
                    self._fetch_file(store, address, name, draft)
                (draft / MANIFEST).write_bytes(data)
                for path in draft.iterdir():
                    path.chmod(0o400)
                manifest = read_bundle(draft, sha256)
                if folder.exists():
                    folder.rename(workspace / "damaged")
                draft.rename(folder)
        except ArtifactStoreError as error:
            raise BundleError(f"{cause.message}, and {error.message}", remedy=error.remedy) from None
        except OSError as error:
            raise BundleError(
                f"bundle {address} cannot be written into {folder.parent}: {error.strerror}",
                remedy="check the disk's space and permissions",
            ) from None
        log.info("bundle %s was fetched from %s", address, store.name)
        return manifest

    def _fetch_file(self, store: ArtifactStore, address: str, name: str, draft: Path) -> None:
        if "/" in name or name in {"", ".", ".."}:
            raise BundleError(f"bundle {address} names a file {name!r}", remedy="train again")
        content = store.read(address, name)
        if content is None:
            raise BundleError(
                f"{store.name} lacks {name} of bundle {address}", remedy="train again, or restore the bundle there"
            )
        (draft / name).write_bytes(content)

    def _evict(self, store: ArtifactStore) -> None:
        found = sorted(_bundles(bundles_folder(self.home)), key=lambda one: one.opened_s)
        excess = sum(one.num_bytes for one in found) - self.limit_bytes
        for one in found:
            if excess <= 0 or self.clock.wall_s() - one.opened_s < MIN_UNUSED_S:
                return
            address = address_of(one.folder)
            try:
                with self._locked(address):
                    if store.has(address, MANIFEST):
                        shutil.rmtree(one.folder)
                        excess -= one.num_bytes
                        log.info("bundle %s was removed from the cache; %s has it", address, store.name)
            except (ArtifactStoreError, OSError) as error:
                log.warning("bundle %s stays in the cache: %s", address, error)
                return

    @contextlib.contextmanager
    def _locked(self, address: str) -> Iterator[None]:
        folder = bundles_folder(self.home)
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / f".{address.replace('/', '-')}.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


@contextlib.contextmanager
def _workspace(folder: Path) -> Iterator[Path]:
    """A folder beside ``folder``, on the same disk. What a killed process has left there goes, too."""
    workspace = folder.with_name(f".fetch-{folder.name}")
    shutil.rmtree(workspace, ignore_errors=True)
    workspace.mkdir()
    try:
        yield workspace
    finally:
        shutil.rmtree(workspace, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class _Cached:
    folder: Path
    opened_s: float
    num_bytes: int


def _bundles(root: Path) -> Iterator[_Cached]:
    for folder in root.glob("[!.]*/[!.]*"):
        with contextlib.suppress(OSError):  # another process has just removed it
            num_bytes = sum(file.stat().st_size for file in folder.iterdir())
            yield _Cached(folder, folder.stat().st_mtime, num_bytes)
