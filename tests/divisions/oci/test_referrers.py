"""What refers to an artifact: listed by the registry, or under the tag of the specification."""

import json
import re

import httpx
import pytest

from divisions.errors import ArtifactStoreError
from divisions.oci.login import Credentials
from divisions.oci.manifest import INDEX_TYPE, MANIFEST_TYPE, ArtifactManifest, Descriptor
from divisions.oci.reference import digest_of, parse_repository
from divisions.oci.referrers import list_referrers, push_referrer, subject_of
from divisions.oci.registry import RegistryClient

SUBJECT = b'{"a": "manifest"}'
TAG = digest_of(SUBJECT).replace(":", "-")
KIND = "application/vnd.in-toto+json"


class MemoryRegistry:
    """Keeps manifests; ``lists``: answers the question for referrers, as registries of 1.1 do."""

    def __init__(self, *, lists: bool, page: int = 1_000) -> None:
        self.lists = lists
        self.page = page
        self.manifests: dict[str, bytes] = {}
        self.on_list = lambda: None

    def __call__(self, request: httpx.Request) -> httpx.Response:
        content, path = request.read(), request.url.path
        name = path.rpartition("/")[2]
        if "/blobs/" in path:
            return httpx.Response(200)
        if "/referrers/" in path:
            if not self.lists:
                return httpx.Response(404)
            return self._listed(request.url, self._referrers(name))
        if request.method == "PUT":
            self.manifests[name] = self.manifests[digest_of(content)] = content
            return httpx.Response(201)
        if name == TAG:
            self.on_list()
        found = self.manifests.get(name)
        return httpx.Response(404) if found is None else self._answer(found)

    def client(self) -> RegistryClient:
        return RegistryClient(parse_repository("oci://registry.example/m"), lambda: None, httpx.MockTransport(self))

    def _listed(self, url: httpx.URL, entries: list[dict[str, object]]) -> httpx.Response:
        """A page of some length, and where the next one is: relative, as the specification writes it."""
        assert url.params["artifactType"]
        start = int(url.params.get("last", "0"))
        reply = self._answer(json.dumps({"manifests": entries[start : start + self.page]}).encode())
        if start + self.page < len(entries):
            following = url.copy_set_param("last", str(start + self.page))
            reply.headers["Link"] = f'<{following.raw_path.decode()}>; rel="next"'
        return reply

    def _answer(self, content: bytes) -> httpx.Response:
        return httpx.Response(200, stream=httpx.ByteStream(content))

    def _referrers(self, digest: str) -> list[dict[str, object]]:
        found = []
        for content in dict.fromkeys(self.manifests.values()):
            manifest = json.loads(content)
            if manifest.get("subject", {}).get("digest") == digest:
                found.append(
                    {
                        "mediaType": MANIFEST_TYPE,
                        "digest": digest_of(content),
                        "size": len(content),
                        "artifactType": manifest["artifactType"],
                        "annotations": manifest["annotations"],
                    }
                )
        return found


def referrer(name: str, kind: str = KIND, subject: bytes = SUBJECT) -> ArtifactManifest:
    return ArtifactManifest(kind, (), {"name": name}, subject=subject_of(subject))


def names(client: RegistryClient) -> list[str]:
    return sorted(each.annotations["name"] for each in list_referrers(client, digest_of(SUBJECT), KIND))


@pytest.mark.parametrize("lists", [True, False])
def test_what_was_pushed_is_listed_by_its_type_and_subject(lists):
    registry = MemoryRegistry(lists=lists)
    with registry.client() as client:
        assert names(client) == []
        for each in (referrer("a"), referrer("b"), referrer("a"), referrer("c", "application/other")):
            push_referrer(client, each)
        push_referrer(client, referrer("d", subject=b"another"))
        assert names(client) == ["a", "b"]
    assert (TAG in registry.manifests) is not lists


def test_the_list_under_the_tag_is_the_same_whatever_the_order():
    lists = []
    for order in ("ab", "ba"):
        registry = MemoryRegistry(lists=False)
        with registry.client() as client:
            for name in order:
                push_referrer(client, referrer(name))
        lists.append(registry.manifests[TAG])
    assert lists[0] == lists[1]
    found = json.loads(lists[0])
    assert found["mediaType"] == INDEX_TYPE
    assert {each["artifactType"] for each in found["manifests"]} == {KIND}


def test_what_others_write_at_the_same_time_is_kept():
    """Another client replaces the list between our reading and writing it, and once right after."""
    registry = MemoryRegistry(lists=False)
    with registry.client() as client:
        push_referrer(client, referrer("theirs"))
        theirs = registry.manifests[TAG]
        asked = []

        def interfere():
            asked.append(1)
            if len(asked) == 2:  # ours was just written
                registry.manifests[TAG] = theirs

        registry.on_list = interfere
        push_referrer(client, referrer("ours"))
        registry.on_list = lambda: None
        assert "ours" in names(client)


def test_a_list_that_keeps_nothing_is_told():
    registry = MemoryRegistry(lists=False)
    registry.on_list = lambda: registry.manifests.pop(TAG, None)
    with registry.client() as client, pytest.raises(ArtifactStoreError, match=re.escape(TAG)):
        push_referrer(client, referrer("a"))


@pytest.mark.parametrize("content", [b"", b"[]", b'{"manifests": {}}', b"\xff"])
def test_a_list_that_is_none_is_told(content):
    registry = MemoryRegistry(lists=False)
    registry.manifests[TAG] = content
    with registry.client() as client, pytest.raises(ArtifactStoreError, match="is no list of manifests"):
        names(client)


def test_each_page_of_a_list_is_read():
    registry = MemoryRegistry(lists=True, page=2)
    with registry.client() as client:
        for name in "abcde":
            push_referrer(client, referrer(name))
        assert names(client) == list("abcde")


def test_a_list_without_an_end_is_given_up():
    registry = MemoryRegistry(lists=True, page=0)
    with registry.client() as client:
        push_referrer(client, referrer("a"))
        with pytest.raises(ArtifactStoreError, match=r"1,000 pages refer to sha256:"):
            names(client)


def test_a_next_page_in_another_place_is_asked_without_a_password():
    """And never without TLS: `RegistryClient` follows it as it follows a redirect."""
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append((request.url.host, request.headers.get("Authorization", "")))
        if request.url.host == "registry.example" and "Authorization" not in request.headers:
            return httpx.Response(401, headers={"WWW-Authenticate": "Basic"})
        link = (
            {"Link": '<https://elsewhere.example/more>; rel="next"'} if request.url.host != "elsewhere.example" else {}
        )
        return httpx.Response(200, headers=link, stream=httpx.ByteStream(b'{"manifests": []}'))

    repository = parse_repository("oci://registry.example/m")
    with RegistryClient(repository, lambda: Credentials("u", "p"), httpx.MockTransport(answer)) as client:
        assert names(client) == []
    assert [host for host, _ in asked] == ["registry.example", "registry.example", "elsewhere.example"]
    assert [bool(password) for _, password in asked] == [False, True, False]


@pytest.mark.parametrize("lists", [True, False])
def test_an_entry_that_is_none_hides_no_other(lists):
    registry = MemoryRegistry(lists=lists)
    with registry.client() as client:
        push_referrer(client, referrer("a"))
        odd = [{}, 3, {"mediaType": 3}, {"mediaType": "x", "digest": "md5:0", "size": 1}]
        if lists:
            listed = registry._referrers(digest_of(SUBJECT))
            registry._referrers = lambda _digest: [*odd, *listed]
        else:
            found = json.loads(registry.manifests[TAG])
            registry.manifests[TAG] = json.dumps({**found, "manifests": [*odd, *found["manifests"]]}).encode()
        assert names(client) == ["a"]


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b'{"mediaType": "application/vnd.docker.distribution.manifest.v2+json"}',
         "application/vnd.docker.distribution.manifest.v2+json"),
        (b'{"mediaType": 3}', MANIFEST_TYPE),
        (b"{}", MANIFEST_TYPE),
        (b"\xff", MANIFEST_TYPE),
    ],
)  # fmt: skip
def test_a_subject_is_what_its_manifest_says(content, kind):
    assert subject_of(content) == Descriptor(kind, digest_of(content), len(content))


def test_a_manifest_without_a_subject_has_no_such_key():
    """Digests of bundles that are in registries already stay what they are."""
    manifest = ArtifactManifest("a/b", (Descriptor("a/c", digest_of(b"x"), 1),))
    assert b"subject" not in manifest.to_json()
    assert b"artifactType" not in json.dumps(json.loads(manifest.to_json())["layers"]).encode()
