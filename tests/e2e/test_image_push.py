"""A runnable image made without an engine, in a real registry: mounted or copied layers, same bytes, all or nothing."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from divisions.artifacts.image_push import COMMAND, ImageRequest, push_image
from divisions.artifacts.release_folder import ReleaseFile
from divisions.errors import ArtifactStoreError, BundleError, UsageError
from divisions.oci.image import (
    CONFIG_TYPE,
    DOCKER_LAYER_TYPE,
    DOCKER_MANIFEST_TYPE,
    FORMAT,
    LAYER_TYPE,
    SERVES,
    ImageManifest,
    Platform,
)
from divisions.oci.login import find_credentials
from divisions.oci.manifest import MANIFEST_TYPE, Descriptor
from divisions.oci.reference import Reference, digest_of, parse_reference
from divisions.oci.registry import RegistryClient
from tests.conftest import skipped_where_absent
from tests.divisions.artifacts.test_cache import make
from tests.e2e.test_oci_store import write_login
from tests.oci_registry import running_registry
from tests.servers import PASSWORD

pytestmark = pytest.mark.e2e

AMD64 = Platform("linux", "amd64")
PIPELINE = b"pipeline: p\n"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"


@pytest.fixture(scope="module")
def registries(tmp_path_factory):
    """The registry with TLS and a password that gets the image, and one more."""
    folder = tmp_path_factory.mktemp("registries")
    with (
        skipped_where_absent(),
        running_registry(folder / "secure", is_secure=True) as secure,
        running_registry(folder / "plain") as plain,
    ):
        yield secure, plain


class World:
    """The registries, and a login for the one that wants it."""

    def __init__(self, secure, plain, login: Path) -> None:
        self.secure, self.plain, self._login = secure, plain, login

    def credentials(self, host: str):
        return find_credentials(host, self._login)

    def reference(self, path: str, *, plain: bool = False) -> Reference:
        server = self.plain if plain else self.secure
        return parse_reference(f"{'oci+http' if plain else 'oci'}://{server.host}:{server.port}/{path}")

    def client(self, reference: Reference) -> RegistryClient:
        return RegistryClient(reference.repository, lambda: self.credentials(reference.repository.host))

    def push_base(self, path: str, *, plain: bool = False, docker: bool = False, arch: str = "amd64", serves=FORMAT):
        """A base of two layers; returns it by its digest."""
        reference = self.reference(path, plain=plain)
        kind = DOCKER_LAYER_TYPE if docker else LAYER_TYPE
        with self.client(reference) as client:
            layers, ids = [], []
            for name in ("one", "two"):
                tar = io.BytesIO()
                with tarfile.open(fileobj=tar, mode="w") as writer:
                    writer.addfile(tarfile.TarInfo(f"{path.replace('/', '-')}-{name}"))
                content = gzip.compress(tar.getvalue(), mtime=0)
                client.push_blob(digest_of(content), len(content), lambda content=content: io.BytesIO(content))
                layers.append(Descriptor(kind, digest_of(content), len(content)))
                ids.append(digest_of(tar.getvalue()))
            config = json.dumps(
                {
                    "os": "linux",
                    "architecture": arch,
                    "config": {"Entrypoint": ["tini", "--"], "Labels": {SERVES: serves} if serves else None},
                    "rootfs": {"type": "layers", "diff_ids": ids},
                }
            ).encode()
            client.push_blob(digest_of(config), len(config), lambda: io.BytesIO(config))
            media_type = DOCKER_MANIFEST_TYPE if docker else MANIFEST_TYPE
            config_type = "application/vnd.docker.container.image.v1+json" if docker else CONFIG_TYPE
            manifest = ImageManifest(
                Descriptor(config_type, digest_of(config), len(config)), tuple(layers), {}, media_type, 2
            )
            digest = digest_of(manifest.to_json())
            client.push_manifest(manifest.to_json(), media_type, digest)
            return replace(reference, digest=digest)

    def pulled(self, image: str) -> tuple[dict, dict]:
        """Manifest and config of what was pushed, by digest."""
        reference = parse_reference(f"oci://{image}")
        with self.client(reference) as client:
            manifest = json.loads(client.pull_manifest(reference.digest))
        return manifest, json.loads(self.secure.blob_path(manifest["config"]["digest"]).read_bytes())


@pytest.fixture
def world(registries, tmp_path, monkeypatch):
    secure, plain = registries
    monkeypatch.setenv("SSL_CERT_FILE", str(secure.authority))
    return World(secure, plain, write_login(tmp_path, secure, PASSWORD))


@pytest.fixture
def request_for(world, tmp_path):
    folder, sha256 = make(tmp_path / "made")

    def build(base: Reference, target: str) -> ImageRequest:
        release = ReleaseFile("churn-predictor", "3.2", sha256)
        return ImageRequest(base, world.reference(target), AMD64, release, folder, PIPELINE, "churn")

    return build


def push(world: World, request: ImageRequest):
    said: list[str] = []
    return push_image(request, world.credentials, said.append), said


def test_layers_of_a_base_in_the_same_registry_are_mounted_not_sent(world, request_for):
    base = world.push_base("mount/base")
    stamps = {path: path.stat().st_mtime_ns for path in world.secure.blobs.rglob("data")}
    pushed, said = push(world, request_for(base, "mount/churn"))
    assert said[-1] == "the base's layers: 2 mounted"
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    assert (pushed.tag, pushed.base) == ("3.2", str(base))
    manifest, config = world.pulled(pushed.image)
    assert [layer["mediaType"] for layer in manifest["layers"]] == [LAYER_TYPE] * 3
    assert manifest["layers"][-1]["digest"] == pushed.layer
    assert config["config"]["Cmd"] == list(COMMAND)
    assert config["config"]["Entrypoint"] == ["tini", "--"]
    assert config["config"]["Env"][:2] == ["DIVISIONS_SERVE_ENDPOINT=churn", "DIVISIONS_SERVE_VERSION=3.2"]
    assert config["config"]["Labels"]["io.divisions.model.version"] == "3.2"
    tar = gzip.decompress(world.secure.blob_path(pushed.layer).read_bytes())
    assert config["rootfs"]["diff_ids"][-1] == digest_of(tar)


def test_twice_the_same_gives_the_same_image_and_sends_nothing(world, request_for):
    base = world.push_base("twice/base")
    first, _ = push(world, request_for(base, "twice/churn"))
    stamps = {path: path.stat().st_mtime_ns for path in world.secure.blobs.rglob("data")}
    second, said = push(world, request_for(base, "twice/churn"))
    assert second == first
    assert said[-1] == "the base's layers: 2 there already"
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps


def test_a_base_of_another_registry_is_copied_and_in_the_same_repository_nothing_moves(world, request_for):
    pushed, said = push(world, request_for(world.push_base("far/base", plain=True), "far/churn"))
    assert said[-1] == "the base's layers: 2 copied"
    beside, said = push(world, request_for(world.push_base("near/churn"), "near/churn:beside"))
    assert said[-1] == "the base's layers: 2 there already"
    for each in (pushed, beside):
        manifest, _ = world.pulled(each.image)
        for layer in manifest["layers"]:
            assert digest_of(world.secure.blob_path(layer["digest"]).read_bytes()) == layer["digest"]


def test_a_base_for_several_platforms_gives_the_one_that_was_asked_for(world, request_for):
    bases = {arch: world.push_base("many/base", arch=arch) for arch in ("arm64", "amd64")}
    place = world.reference("many/base")
    entries = []
    for arch, base in bases.items():
        platform = {"os": "linux", "architecture": arch}
        entries.append({"mediaType": MANIFEST_TYPE, "digest": base.digest, "size": 1, "platform": platform})
    index = json.dumps({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": entries}).encode()
    with world.client(place) as client:
        client.push_manifest(index, INDEX_TYPE, "all")
    wanted = replace(request_for(replace(place, tag="all"), "many/churn"), platform=Platform("linux", "arm64"))
    pushed, _ = push(world, wanted)
    assert pushed.base.endswith(bases["arm64"].digest)
    assert world.pulled(pushed.image)[1]["architecture"] == "arm64"
    with pytest.raises(ArtifactStoreError, match="is for linux/amd64, linux/arm64, not for linux/s390x"):
        push(world, replace(wanted, platform=Platform("linux", "s390x")))


def test_an_image_in_docker_s_format_stays_one(world, request_for):
    pushed, _ = push(world, request_for(world.push_base("docker/base", docker=True), "docker/churn"))
    manifest, _ = world.pulled(pushed.image)
    assert manifest["mediaType"] == DOCKER_MANIFEST_TYPE
    assert {layer["mediaType"] for layer in manifest["layers"]} == {DOCKER_LAYER_TYPE}


def test_what_cannot_be_is_told_and_leaves_no_image(world, request_for, tmp_path):
    base = world.push_base("bad/base")
    good = request_for(base, "bad/churn")
    wrong = msgspec.structs.replace(good.release, bundle_sha256="0" * 64)
    cases = [
        (replace(good, base=world.reference("bad/base:absent")), ArtifactStoreError, "there is no image .*:absent"),
        (replace(good, base=world.push_base("bad/other", serves="")), ArtifactStoreError, "cannot serve a bundle"),
        (replace(good, target=replace(good.target, digest=base.digest)), UsageError, "names a digest"),
        (replace(good, release=wrong), BundleError, "is not the one that was registered"),
    ]
    for request, kind, message in cases:
        with pytest.raises(kind, match=message):
            push(world, request)
    lost = world.push_base("bad/lost")
    with world.client(lost) as client:
        layer = json.loads(client.pull_manifest(lost.digest))["layers"][0]["digest"]
    blob = world.secure.blob_path(layer)
    content = blob.read_bytes()
    blob.write_bytes(content[:-1] + b"x")
    with pytest.raises(ArtifactStoreError, match="sends other bytes than sha256:"):
        push(world, replace(good, base=lost, target=world.reference("bad/churn", plain=True)))
    with world.client(good.target) as client:
        assert not client.has_manifest("3.2")


def test_a_registry_that_dies_in_between_leaves_no_tag_and_the_same_command_goes_on(world, request_for, monkeypatch):
    request = request_for(world.push_base("killed/base"), "killed/churn")
    real = RegistryClient.push_manifest

    def dying(self, *arguments):
        world.secure.kill()
        return real(self, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(RegistryClient, "push_manifest", dying)
        with pytest.raises(ArtifactStoreError, match="does not answer"):
            push(world, request)
    world.secure.start()
    with world.client(request.target) as client:
        assert not client.has_manifest("3.2")
    pushed, said = push(world, request)
    assert said[-1] == "the base's layers: 2 there already"
    assert world.pulled(pushed.image)[0]["layers"]
