"""Bundles in a registry in memory: what is pushed and pulled, what is refused, and that nothing is left on the disk."""

from __future__ import annotations

import gzip
import hashlib
import re
import tempfile
from pathlib import Path

import httpx
import pytest

from divisions.artifacts import oci_store
from divisions.artifacts.oci_store import ARTIFACT_TYPE, LAYER_TYPE, open_oci_store
from divisions.errors import ArtifactStoreError
from divisions.oci.manifest import ArtifactManifest, Descriptor, read_manifest
from divisions.oci.reference import digest_of
from divisions.oci.registry import RegistryClient

ADDRESS = "churn/0123456789abcdef"
NAME = "oci://registry.example/team"


class MemoryRegistry(httpx.MockTransport):
    """Blobs by digest and manifests by tag or digest, of repositories by path; counts requests."""

    def __init__(self) -> None:
        super().__init__(self.answer)
        self.content: dict[str, bytes] = {}
        self.requests: list[str] = []

    def answer(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        self.requests.append(f"{request.method} {path}")
        if request.method in {"GET", "HEAD"}:
            found = self.content.get(path)
            return httpx.Response(404 if found is None else 200, stream=httpx.ByteStream(found or b""))
        if request.method == "POST":
            return httpx.Response(202, headers={"Location": path})
        digest = request.url.params.get("digest")
        self.content[f"{path.removesuffix('uploads/')}{digest}" if digest else path] = request.read()
        return httpx.Response(201)

    def manifest(self, tag: str = ADDRESS.partition("/")[2]) -> ArtifactManifest:
        return read_manifest(self.content[f"/v2/team/churn/manifests/{tag}"], "it")


@pytest.fixture
def registry(monkeypatch):
    registry = MemoryRegistry()
    monkeypatch.setattr(
        oci_store, "RegistryClient", lambda repository, login, *_: RegistryClient(repository, login, registry)
    )
    return registry


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    """Where temporary folders are made."""
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    return tmp_path / "scratch"


def store(max_bytes: int = 1_000_000):
    return open_oci_store(NAME, Path("/absent"), max_bytes)


def files(folder: Path, **content: bytes) -> list[Path]:
    folder.mkdir()
    for name, data in content.items():
        (folder / name).write_bytes(data)
    return sorted(folder.iterdir())


def test_a_bundle_is_one_artifact_with_its_tar_as_the_only_layer(registry, scratch, tmp_path):
    store().write(ADDRESS, files(tmp_path / "in", graph=b"graph", manifest=b"{}"))
    manifest = registry.manifest()
    (layer,) = manifest.layers
    packed = registry.content[f"/v2/team/churn/blobs/{layer.digest}"]
    assert (manifest.artifact_type, layer.media_type, layer.size) == (ARTIFACT_TYPE, LAYER_TYPE, len(packed))
    assert layer.annotations == {
        "org.opencontainers.image.title": "churn-0123456789abcdef.tar.gz",
        "io.divisions.bundle.tar.digest": f"sha256:{hashlib.sha256(gzip.decompress(packed)).hexdigest()}",
    }
    assert list(scratch.iterdir()) == []


def test_a_bundle_is_pulled_once_for_all_its_files_and_is_gone_when_the_store_is_closed(registry, scratch, tmp_path):
    store().write(ADDRESS, files(tmp_path / "in", graph=b"graph", manifest=b"{}"))
    reader = store()
    assert reader.has(ADDRESS, "manifest")
    registry.requests.clear()
    assert [reader.read(ADDRESS, name) for name in ("graph", "manifest", "absent")] == [b"graph", b"{}", None]
    assert [reader.has(ADDRESS, name) for name in ("graph", "absent")] == [True, False]
    assert len(registry.requests) == 2
    assert [path.name for path in scratch.rglob("*.tar.gz")] == []
    reader.close()
    assert list(scratch.iterdir()) == []
    assert reader.read(ADDRESS, "graph") == b"graph", "it is pulled again"
    reader.close()


def test_of_two_bundles_the_last_one_stays_unpacked(registry, scratch, tmp_path):
    other = "churn/fedcba9876543210"
    writer = store()
    writer.write(ADDRESS, files(tmp_path / "one", graph=b"one"))
    writer.write(other, files(tmp_path / "two", graph=b"two"))
    reader = store()
    assert [reader.read(address, "graph") for address in (ADDRESS, other, ADDRESS)] == [b"one", b"two", b"one"]
    assert len(list(scratch.iterdir())) == 1
    reader.close()


def test_what_is_written_is_read_anew(registry, scratch, tmp_path):
    one = store()
    one.write(ADDRESS, files(tmp_path / "one", graph=b"one"))
    assert one.read(ADDRESS, "graph") == b"one"
    one.write(ADDRESS, files(tmp_path / "two", graph=b"two"))
    assert one.read(ADDRESS, "graph") == b"two"
    one.close()


def test_a_bundle_that_is_not_there_is_none(registry, scratch):
    assert (store().has(ADDRESS, "graph"), store().read(ADDRESS, "graph")) == (False, None)
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize("name", ["", ".", "..", "../graph", "/etc/passwd"])
def test_a_name_that_is_no_files_is_refused(registry, scratch, tmp_path, name):
    reader = store()
    reader.write(ADDRESS, files(tmp_path / "in", graph=b"graph"))
    with pytest.raises(ArtifactStoreError, match=f"{NAME} holds no file {re.escape(repr(name))}"):
        reader.read(ADDRESS, name)
    reader.close()


def test_a_file_that_cannot_be_read_is_named(registry, scratch, tmp_path):
    reader = store()
    reader.write(ADDRESS, files(tmp_path / "in", graph=b"graph"))
    reader.read(ADDRESS, "graph")
    (path,) = scratch.rglob("graph")
    path.unlink()
    path.mkdir()
    with pytest.raises(ArtifactStoreError, match="graph cannot be read: Is a directory"):
        reader.read(ADDRESS, "graph")
    reader.close()


def test_a_bundle_that_cannot_be_packed_is_told(registry, scratch, tmp_path):
    with pytest.raises(ArtifactStoreError, match=rf"bundle {ADDRESS} cannot be packed in {scratch}.*TMPDIR"):
        store().write(ADDRESS, [tmp_path / "absent"])
    assert (registry.content, list(scratch.iterdir())) == ({}, [])


def test_a_bundle_as_large_as_allowed_is_pulled_and_a_larger_one_not_even_begun(registry, scratch, tmp_path):
    store().write(ADDRESS, files(tmp_path / "in", graph=b"graph"))
    (layer,) = registry.manifest().layers
    reader = store(max_bytes=layer.size)
    assert reader.read(ADDRESS, "graph") == b"graph"
    reader.close()
    registry.requests.clear()
    with pytest.raises(ArtifactStoreError, match=rf"has {layer.size} bytes, over the {layer.size - 1} that bundles"):
        store(max_bytes=layer.size - 1).read(ADDRESS, "graph")
    assert len(registry.requests) == 1


def layers(*kinds: str) -> tuple[Descriptor, ...]:
    return tuple(Descriptor(kind, digest_of(b"x"), 1) for kind in kinds)


@pytest.mark.parametrize(
    "manifest",
    [
        ArtifactManifest("application/vnd.other", layers(LAYER_TYPE)),
        ArtifactManifest(ARTIFACT_TYPE, layers("other")),
        ArtifactManifest(ARTIFACT_TYPE, layers(LAYER_TYPE, LAYER_TYPE)),
    ],
)
def test_an_artifact_that_is_no_bundle_is_told_with_its_type(registry, scratch, manifest):
    registry.content["/v2/team/churn/manifests/0123456789abcdef"] = manifest.to_json()
    with pytest.raises(ArtifactStoreError, match=rf"is an artifact of type '{manifest.artifact_type}', no bundle"):
        store().read(ADDRESS, "graph")


@pytest.mark.parametrize("blob", [None, b"x"])
def test_a_layer_that_is_missing_or_no_tar_leaves_nothing(registry, scratch, blob):
    manifest = ArtifactManifest(ARTIFACT_TYPE, layers(LAYER_TYPE))
    registry.content["/v2/team/churn/manifests/0123456789abcdef"] = manifest.to_json()
    if blob is not None:
        registry.content[f"/v2/team/churn/blobs/{digest_of(b'x')}"] = blob
    with pytest.raises(
        ArtifactStoreError, match="status 404" if blob is None else r"team/churn:0123456789abcdef: .*\.tar\.gz"
    ):
        store().read(ADDRESS, "graph")
    assert list(scratch.iterdir()) == []
