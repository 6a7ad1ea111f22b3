"""One layer more on an image: what the base says is kept, what is added is told, and the bytes are always the same."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from divisions.errors import ArtifactStoreError, UsageError
from divisions.oci.image import (
    CONFIG_TYPE,
    DOCKER_LAYER_TYPE,
    DOCKER_MANIFEST_TYPE,
    FORMAT,
    LAYER_TYPE,
    SERVES,
    ImageManifest,
    Layer,
    Platform,
    add_layer,
    choose,
    parse_platform,
    read_config,
    read_image,
)
from divisions.oci.manifest import MANIFEST_TYPE, Descriptor
from divisions.oci.reference import digest_of

AMD64 = Platform("linux", "amd64")
BASE = digest_of(b"base")
NEW = Layer(digest_of(b"packed"), 6, digest_of(b"tar"), "2025-01-14T00:00:00Z", "divisions")


def layers(count: int) -> tuple[Descriptor, ...]:
    return tuple(Descriptor(LAYER_TYPE, digest_of(b"%d" % number), number) for number in range(count))


def image(count: int = 2, media_type: str = MANIFEST_TYPE) -> ImageManifest:
    return ImageManifest(Descriptor(CONFIG_TYPE, digest_of(b"c"), 1), layers(count), {"kept": "yes"}, media_type, 2)


def config(count: int = 2, **changes) -> dict:
    usual = {
        "os": "linux",
        "architecture": "amd64",
        "config": {"Entrypoint": ["tini", "--"], "User": "10001:10001", "Labels": {SERVES: FORMAT, "title": "base"}},
        "rootfs": {"type": "layers", "diff_ids": [digest_of(b"tar %d" % number) for number in range(count)]},
        "history": [{"created_by": "base"}],
    }
    return usual | changes


def added(base: ImageManifest, start: dict) -> tuple[dict, dict]:
    content, manifest = add_layer(
        base,
        start,
        NEW,
        command=("serve", "it"),
        environment={"VERSION": "3.2"},
        labels={"title": "churn"},
        base_digest=BASE,
    )
    assert (manifest.config.digest, manifest.config.size) == (digest_of(content), len(content))
    return json.loads(content), json.loads(manifest.to_json())


def test_the_layer_is_the_last_one_and_the_base_starts_it_as_itself():
    new, manifest = added(image(), config())
    assert [each["digest"] for each in manifest["layers"]] == [each.digest for each in layers(2)] + [NEW.digest]
    assert new["rootfs"]["diff_ids"] == [*config()["rootfs"]["diff_ids"], NEW.diff_id]
    assert new["config"]["Cmd"] == ["serve", "it"]
    assert (new["config"]["Entrypoint"], new["config"]["User"]) == (["tini", "--"], "10001:10001")
    assert new["history"] == [
        {"created_by": "base"},
        {"created": "2025-01-14T00:00:00Z", "created_by": "divisions"},
    ]
    assert new["created"] == "2025-01-14T00:00:00Z"


def test_labels_replace_those_of_the_base_and_name_it():
    new, manifest = added(image(), config())
    told = {"title": "churn", "org.opencontainers.image.base.digest": BASE}
    assert new["config"]["Labels"] == {SERVES: FORMAT, **told}
    assert manifest["annotations"] == {"kept": "yes", **told}


def test_variables_replace_those_of_the_base_with_the_same_name():
    start = config()
    start["config"]["Env"] = ["VERSION=3.1", "PATH=/bin", "VERSION_2=x=y"]
    assert added(image(), start)[0]["config"]["Env"] == ["PATH=/bin", "VERSION_2=x=y", "VERSION=3.2"]


def test_docker_s_own_format_stays_it_with_all_that_only_it_has():
    health = {"Test": ["CMD", "true"], "Interval": 10}
    start = config(container_config={"odd": 1})
    start["config"]["Healthcheck"] = health
    new, manifest = added(image(media_type=DOCKER_MANIFEST_TYPE), start)
    assert (new["config"]["Healthcheck"], new["container_config"]) == (health, {"odd": 1})
    assert (manifest["mediaType"], manifest["layers"][-1]["mediaType"]) == (DOCKER_MANIFEST_TYPE, DOCKER_LAYER_TYPE)
    assert "annotations" not in manifest, "the format has none"


def test_a_base_without_history_gets_none():
    new, _ = added(image(), {name: value for name, value in config().items() if name != "history"})
    assert "history" not in new


@given(
    st.dictionaries(st.sampled_from(["author", "x", "variant", "moby"]), st.text(max_size=3)),
    st.integers(min_value=0, max_value=5),
    st.randoms(use_true_random=False),
)
def test_the_same_input_gives_the_same_bytes_in_whatever_order_it_was_written(extra, count, random):
    start = config(count, **extra)
    items = list(start.items())
    random.shuffle(items)
    once, manifest = added(image(count), start), image(count)
    assert added(manifest, dict(items)) == once
    assert len(once[0]["rootfs"]["diff_ids"]) == len(once[1]["layers"]) == count + 1
    assert {name: once[0][name] for name in extra} == extra, "what is not known is kept"


def index(*platforms: dict) -> bytes:
    entries = [{"digest": digest_of(b"%d" % number), "platform": each} for number, each in enumerate(platforms)]
    return json.dumps({"schemaVersion": 2, "manifests": entries}).encode()


ARM7, ARM8, AMD = (
    {"os": "linux", "architecture": "arm", "variant": "v7"},
    {"os": "linux", "architecture": "arm64", "variant": "v8"},
    {"os": "linux", "architecture": "amd64"},
)
PROVENANCE = {"os": "unknown", "architecture": "unknown"}


@pytest.mark.parametrize(
    ("asked", "chosen"), [("linux/amd64", 3), ("linux/arm64", 2), ("linux/arm64/v8", 2), ("linux/arm/v7", 1)]
)
def test_the_platform_chooses_from_an_index(asked, chosen):
    content = index(PROVENANCE, ARM7, ARM8, AMD, AMD)
    assert choose(content, parse_platform(asked), "it") == digest_of(b"%d" % chosen)


@pytest.mark.parametrize("asked", ["windows/amd64", "linux/arm64/v9", "unknown/amd64"])
def test_a_platform_that_is_not_there_is_told_with_those_that_are(asked):
    with pytest.raises(ArtifactStoreError, match=rf"it is for linux/amd64, linux/arm64/v8, not for {asked}"):
        choose(index(PROVENANCE, ARM8, AMD), parse_platform(asked), "it")


def test_one_image_is_no_index_and_is_read():
    assert choose(image().to_json(), AMD64, "it") == ""
    assert read_image(image().to_json(), "it") == image()


@pytest.mark.parametrize("text", ["linux", "linux/", "/amd64", "a/b/c/d", ""])
def test_what_is_no_platform_is_refused(text):
    with pytest.raises(UsageError, match="is no platform"):
        parse_platform(text)


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b'{"manifests": 3}', b'{"layers": []}', b'{"config": {}}'])
def test_what_is_no_image_is_one_line(content):
    with pytest.raises(ArtifactStoreError, match="it is no image"):
        read_base(content)


def read_base(content: bytes) -> ImageManifest:
    assert choose(content, AMD64, "it") == ""
    return read_image(content, "it")


def read(start: dict) -> dict:
    return read_config(msgspec.json.encode(start), image(), AMD64, "it")


def test_a_base_that_can_serve_is_taken():
    assert read(config()) == config()


@pytest.mark.parametrize("labels", [None, {}, {SERVES: "release.v9"}])
def test_a_base_that_cannot_serve_is_refused(labels):
    with pytest.raises(ArtifactStoreError, match=r"has no label io\.divisions\.serves=.*Dockerfile\.gpu"):
        read(config(config={"Labels": labels}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "arm64"}, "it is for linux/arm64, not for linux/amd64"),
        ({"architecture": None, "os": None}, "it is for no platform"),
        ({"rootfs": {"diff_ids": ["one"]}}, "other layers"),
        ({"rootfs": 3}, "other layers"),
        ({"config": []}, "has no label"),
    ],
)
def test_a_config_that_does_not_fit_is_told(changes, message):
    with pytest.raises(ArtifactStoreError, match=message):
        read(config(**changes))
