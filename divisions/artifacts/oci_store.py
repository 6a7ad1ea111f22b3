"""The store of bundles in an OCI registry: one artifact per bundle, with the tar as its only layer.

    <host>/<path>/<model>:<first 16 digits of the bundle's SHA-256>

The tag only finds the artifact. Whoever reads it checks every byte against the SHA-256 of the record, so a tag that was
moved, or a registry that lies, cannot put a wrong model into service.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import httpx

from divisions.artifacts.oci_attestations import pull_attestations, push_attestation
from divisions.artifacts.tarball import inner_sha256, unpack_tarball, write_tarball
from divisions.attestation.keys import PublicKey, SigningKey
from divisions.bundle import file_sha256
from divisions.errors import ArtifactStoreError, BundleError
from divisions.oci.ecr import creator
from divisions.oci.login import Credentials, find_credentials
from divisions.oci.manifest import TITLE, ArtifactManifest, Descriptor, read_manifest
from divisions.oci.reference import Repository, parse_repository
from divisions.oci.registry import RegistryClient

ARTIFACT_TYPE: Final = "application/vnd.divisions.bundle.v1"
LAYER_TYPE: Final = "application/vnd.divisions.bundle.v1.tar+gzip"
TAR_DIGEST: Final = "io.divisions.bundle.tar.digest"
"""Annotation of the layer: the SHA-256 of the uncompressed tar, which does not depend on zlib."""


class OciStore:
    """A store of bundles in a registry.

    Args:
        name: the value of ``DIVISIONS_ARTIFACTS``.
        root: the repository that it names; models are repositories below it.
        credentials: gives those for the registry.
        max_bytes: the largest bundle that is unpacked.
        transport: of httpx; tests put theirs here.
    """

    def __init__(
        self,
        name: str,
        root: Repository,
        credentials: Callable[[], Credentials | None],
        max_bytes: int,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.name = name
        self._root = root
        self._credentials = credentials
        self._max_bytes = max_bytes
        self._transport = transport
        self._pulled_address = ""
        self._pulled: tempfile.TemporaryDirectory[str] | None = None

    def has(self, address: str, file: str) -> bool:
        """Whether the bundle's artifact is there; it is pushed whole, after its content."""
        if self._pulled_address == address:
            return self._path(file).is_file()
        client, tag = self._open(address)
        with client:
            return client.has_manifest(tag)

    def read(self, address: str, file: str) -> bytes | None:
        """A file of the bundle; None if there is no such bundle or file. The last bundle stays unpacked."""
        if self._pulled_address != address and not self._pull(address):
            return None
        try:
            return self._path(file).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ArtifactStoreError(f"{self._path(file)} cannot be read: {error.strerror}") from None

    def write(self, address: str, files: Sequence[Path]) -> None:
        with tempfile.TemporaryDirectory(prefix="divisions-push-") as workspace:
            try:
                content = Path(workspace) / "content"
                content.mkdir()
                for file in files:
                    shutil.copyfile(file, content / file.name)
                tar = Path(workspace) / f"{address.replace('/', '-')}.tar.gz"
                write_tarball(content, tar)
            except (OSError, BundleError) as error:
                raise ArtifactStoreError(
                    f"bundle {address} cannot be packed in {tempfile.gettempdir()}: {error}",
                    remedy="check the disk's space, or set TMPDIR",
                ) from None
            self.write_packed(address, tar)

    def write_packed(self, address: str, tar: Path) -> None:
        """Pushes a bundle that is packed already (`divisions.artifacts.tarball.write_tarball`)."""
        self._forget()
        try:
            digest, size, tar_sha256 = f"sha256:{file_sha256(tar)}", tar.stat().st_size, inner_sha256(tar)
        except (OSError, BundleError) as error:
            raise ArtifactStoreError(f"{tar} cannot be read: {error}", remedy="package the bundle again") from None
        client, tag = self._open(address)
        with client:
            client.push_blob(digest, size, lambda: tar.open("rb"))
            title = f"{address.replace('/', '-')}.tar.gz"  # The same for the same bundle, whatever the file's name.
            layer = Descriptor(LAYER_TYPE, digest, size, {TITLE: title, TAR_DIGEST: f"sha256:{tar_sha256}"})
            try:
                client.push_artifact(ArtifactManifest(ARTIFACT_TYPE, (layer,)), tag)
            except ArtifactStoreError:
                # A tag that cannot be moved may name the same tar, packed with another release of zlib.
                if not _holds(client, tag, f"sha256:{tar_sha256}"):
                    raise

    def remove(self, address: str) -> None:
        """Removes the artifact. What refers to it, such as statements, is then the registry's to collect."""
        self._forget()
        client, tag = self._open(address)
        with client:
            client.delete_manifest(tag)

    def read_attestations(self, address: str, name: str, key: PublicKey) -> list[bytes]:
        client, tag = self._open(address)
        with client:
            return pull_attestations(client, tag, name, key)

    def write_attestation(self, address: str, name: str, content: bytes, key: SigningKey) -> None:
        client, tag = self._open(address)
        with client:
            push_attestation(client, tag, name, content, key)

    def close(self) -> None:
        """Removes what is unpacked."""
        self._forget()

    def _open(self, address: str) -> tuple[RegistryClient, str]:
        model, _, tag = address.partition("/")
        repository = self._root.below(model)
        return RegistryClient(repository, self._credentials, self._transport, creator(repository)), tag

    def _pull(self, address: str) -> bool:
        self._forget()
        client, tag = self._open(address)
        with client:
            content = client.pull_manifest(tag)
            if content is None:
                return False
            where = f"{client.repository}:{tag}"
            layer = _bundle_layer(read_manifest(content, where), where)
            if layer.size > self._max_bytes:
                raise ArtifactStoreError(
                    f"{where} has {layer.size:,} bytes, over the {self._max_bytes:,} that bundles may take",
                    remedy="raise DIVISIONS_ARTIFACT_CACHE_MB",
                )
            pulled = tempfile.TemporaryDirectory(prefix="divisions-pull-")
            try:
                tar = Path(pulled.name) / "bundle.tar.gz"
                client.pull_blob(layer.digest, layer.size, tar)
                unpacked = Path(pulled.name) / "files"
                unpacked.mkdir()
                unpack_tarball(tar, unpacked, self._max_bytes)
                tar.unlink()
            except BundleError as error:
                pulled.cleanup()
                raise ArtifactStoreError(f"{where}: {error.message}", remedy=error.remedy) from None
            except BaseException:
                pulled.cleanup()
                raise
        self._pulled, self._pulled_address = pulled, address
        return True

    def _path(self, file: str) -> Path:
        assert self._pulled is not None, "a bundle is unpacked"
        if "/" in file or file in {"", ".", ".."}:
            raise ArtifactStoreError(f"{self.name} holds no file {file!r}", remedy="train again")
        return Path(self._pulled.name) / "files" / file

    def _forget(self) -> None:
        if self._pulled is not None:
            self._pulled.cleanup()
        self._pulled, self._pulled_address = None, ""


def open_oci_store(artifacts: str, docker_config: Path, max_bytes: int) -> OciStore:
    """The store that ``DIVISIONS_ARTIFACTS`` names. Opens no connection.

    Raises:
        SettingsError: it names no repository.
    """
    root = parse_repository(artifacts)
    return OciStore(artifacts, root, lambda: find_credentials(root.host, docker_config), max_bytes)


def _holds(client: RegistryClient, tag: str, tar_digest: str) -> bool:
    """Whether a tag names a bundle whose uncompressed tar has this digest."""
    content = client.pull_manifest(tag)
    if content is None:
        return False
    where = f"{client.repository}:{tag}"
    return _bundle_layer(read_manifest(content, where), where).annotations.get(TAR_DIGEST) == tar_digest


def _bundle_layer(manifest: ArtifactManifest, where: str) -> Descriptor:
    layers = [layer for layer in manifest.layers if layer.media_type == LAYER_TYPE]
    if manifest.artifact_type != ARTIFACT_TYPE or len(layers) != 1:
        raise ArtifactStoreError(
            f"{where} is an artifact of type {manifest.artifact_type[:80]!r}, no bundle",
            remedy="give bundles a repository of their own",
        )
    return layers[0]
