"""A registry that misbehaves: no byte is believed, no credential leaves its origin, and each fault is one line."""

import hashlib
import io
import json
import tempfile
from pathlib import Path

import httpx
import pytest

from divisions.errors import ArtifactStoreError
from divisions.oci.login import Credentials
from divisions.oci.manifest import MANIFEST_TYPE, ArtifactManifest, Descriptor, read_manifest
from divisions.oci.reference import digest_of, parse_repository
from divisions.oci.registry import RegistryClient

BLOB = b"graph" * 1_000
DIGEST = digest_of(BLOB)
ME = Credentials("me", "secret")


class Registry:
    """Answers by a table of (method, start of the path); keeps what it was asked."""

    def __init__(self, **replies) -> None:
        self.replies = replies
        self.requests: list[httpx.Request] = []
        self.bodies: list[bytes] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        self.bodies.append(request.read())
        key = request.method if request.url.host == "registry.example" else request.url.host.replace(".", "_")
        return self.replies[key](request)

    def client(self, address: str = "oci://registry.example/team/m", credentials: Credentials | None = ME):
        return RegistryClient(parse_repository(address), lambda: credentials, httpx.MockTransport(self))

    def sent_to(self, host: str) -> list[httpx.Request]:
        return [request for request in self.requests if request.url.host == host]


def reply(status: int = 200, content: bytes = b"", **headers: str):
    """Answers each request so."""
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return lambda request: httpx.Response(status, stream=httpx.ByteStream(content), headers=named)


def pull(registry: Registry, size: int = len(BLOB), **kinds) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "blob"
        try:
            with registry.client(**kinds) as client:
                client.pull_blob(DIGEST, size, target)
            return target.read_bytes()
        finally:
            left = sorted(path.name for path in Path(folder).iterdir())
            assert left in ([], ["blob"]), "nothing half is left"


def basic(status: int = 200, content: bytes = b"", **headers: str):
    """Wants the password, then answers."""

    def answer(request: httpx.Request) -> httpx.Response:
        if request.headers.get("Authorization") != ME.basic:
            return reply(401, WWW_Authenticate='Basic realm="r"')(request)
        return reply(status, content, **headers)(request)

    return answer


def test_a_blob_that_is_right_is_kept():
    assert pull(Registry(GET=reply(200, BLOB))) == BLOB


@pytest.mark.parametrize("content", [b"", BLOB[:-1], BLOB + b"x", BLOB[:-1] + b"x", b"x" * 10_000_000])
def test_other_bytes_than_asked_for_are_not_kept(content):
    with pytest.raises(ArtifactStoreError, match="sends other bytes than sha256:"):
        pull(Registry(GET=reply(200, content)))


def test_a_compressed_reply_is_refused_and_not_unpacked():
    with pytest.raises(ArtifactStoreError, match="sends compressed replies"):
        pull(Registry(GET=reply(200, b"x", Content_Encoding="gzip")))


def test_a_redirect_to_a_storage_gets_no_password():
    registry = Registry(GET=basic(307, Location="https://storage.example/x?sign=1"), storage_example=reply(200, BLOB))
    assert pull(registry) == BLOB
    assert [request.headers.get("Authorization") for request in registry.sent_to("storage.example")] == [None]


def test_a_storage_that_asks_for_a_password_gets_none():
    registry = Registry(
        GET=basic(307, Location="https://storage.example/x"),
        storage_example=reply(401, WWW_Authenticate='Basic realm="please"'),
    )
    with pytest.raises(ArtifactStoreError, match="status 401"):
        pull(registry)
    assert [request.headers.get("Authorization") for request in registry.sent_to("storage.example")] == [None]


@pytest.mark.parametrize("place", ["http://storage.example/x", "http://registry.example/v2/"])
def test_a_redirect_out_of_tls_is_not_followed(place):
    with pytest.raises(ArtifactStoreError, match=r"sends to .* without TLS"):
        pull(Registry(GET=reply(302, Location=place), storage_example=reply(200, BLOB)))


def test_redirects_in_circles_end():
    registry = Registry(GET=reply(302, Location="/v2/again"))
    with pytest.raises(ArtifactStoreError, match="redirects in circles"):
        pull(registry)
    assert len(registry.requests) == 5


def uploads(place: str = "/v2/team/m/blobs/uploads/1?state=x", **replies) -> Registry:
    return Registry(HEAD=reply(404), POST=reply(202, Location=place), PUT=reply(201), **replies)


def push(registry: Registry, **kinds) -> bool:
    with registry.client(**kinds) as client:
        return client.push_blob(DIGEST, len(BLOB), lambda: io.BytesIO(BLOB))


@pytest.mark.parametrize(
    ("place", "target"),
    [
        ("/v2/team/m/blobs/uploads/1?state=x", "https://registry.example/v2/team/m/blobs/uploads/1?state=x&digest="),
        ("https://registry.example/u/1", "https://registry.example/u/1?digest="),
    ],
)
def test_a_blob_goes_where_the_registry_says_in_one_piece(place, target):
    registry = uploads(place)
    assert push(registry)
    put = registry.requests[-1]
    assert str(put.url).replace("%3A", ":") == f"{target}{DIGEST}"
    assert (put.headers["Content-Length"], "Transfer-Encoding" in put.headers) == (str(len(BLOB)), False)
    assert registry.bodies[-1] == BLOB


def test_a_blob_that_is_there_is_not_sent():
    registry = Registry(HEAD=reply(200))
    assert not push(registry)
    assert [request.method for request in registry.requests] == ["HEAD"]


def test_an_upload_elsewhere_gets_no_password():
    registry = Registry(
        HEAD=basic(404), POST=basic(202, Location="https://storage.example/up"), storage_example=reply(201)
    )
    assert push(registry)
    (put,) = registry.sent_to("storage.example")
    assert "Authorization" not in put.headers


def test_an_upload_whose_login_has_expired_is_sent_again_from_its_start():
    first, second = reply(401, WWW_Authenticate='Bearer realm="https://auth.example/t",service="s"'), reply(201)

    def answer(request: httpx.Request) -> httpx.Response:
        return (second if "Authorization" in request.headers else first)(request)

    registry = Registry(
        HEAD=reply(404),
        POST=reply(202, Location="/up"),
        PUT=answer,
        auth_example=reply(200, b'{"token": "T"}'),
    )
    assert push(registry)
    assert registry.bodies[-1] == registry.bodies[-3] == BLOB
    assert registry.requests[-1].headers["Authorization"] == "Bearer T"


def bearer(realm: str = "https://auth.example/token"):
    def answer(request: httpx.Request) -> httpx.Response:
        if request.headers.get("Authorization") != "Bearer T":
            return reply(401, WWW_Authenticate=f'Bearer realm="{realm}",service="s",scope="repository:team/m:pull"')(
                request
            )
        return reply(200, BLOB)(request)

    return answer


@pytest.mark.parametrize("name", ["token", "access_token"])
@pytest.mark.parametrize("credentials", [ME, None])
def test_a_token_is_asked_for_with_the_password_and_used_at_the_registry_only(name, credentials):
    registry = Registry(GET=bearer(), auth_example=reply(200, json.dumps({name: "T"}).encode()))
    assert pull(registry, credentials=credentials) == BLOB
    (asked,) = registry.sent_to("auth.example")
    assert dict(asked.url.params) == {"service": "s", "scope": "repository:team/m:pull"}
    assert asked.headers.get("Authorization") == (credentials.basic if credentials else None)


@pytest.mark.parametrize("realm", ["http://auth.example/token", "", "file:///etc/passwd"])
def test_a_token_service_without_tls_is_not_asked(realm):
    registry = Registry(GET=bearer(realm), auth_example=reply(200, b'{"token": "T"}'))
    with pytest.raises(ArtifactStoreError, match="does not speak HTTPS"):
        pull(registry)
    assert registry.sent_to("auth.example") == []


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (reply(200, b"[]"), "sends no token"),
        (reply(200, b"<"), "sends no token"),
        (reply(403, b'{"errors": [{"code": "DENIED", "message": "no"}]}'), r"status 403 \(DENIED: no\)"),
    ],
)
def test_a_token_service_that_refuses_is_told(answer, message):
    with pytest.raises(ArtifactStoreError, match=message):
        pull(Registry(GET=bearer(), auth_example=answer))


def test_a_password_over_plain_http_stays_on_this_machine():
    registry = Registry(GET=basic(200, BLOB), **{"127_0_0_1": basic(200, BLOB)})
    with pytest.raises(ArtifactStoreError, match="asks for a password over plain HTTP"):
        pull(registry, address="oci+http://registry.example/team/m")
    assert "Authorization" not in registry.requests[0].headers
    assert pull(registry, address="oci+http://127.0.0.1:5000/team/m") == BLOB


def test_a_login_that_does_not_help_is_tried_once():
    registry = Registry(GET=reply(401, WWW_Authenticate='Basic realm="r"'))
    with pytest.raises(ArtifactStoreError, match=r"status 401.*log in with docker"):
        pull(registry)
    assert len(registry.requests) == 2


@pytest.mark.parametrize(
    ("status", "remedy"),
    [(403, "ask for the right"), (404, "create the repository"), (429, "try again later"), (500, "try again when"),
     (503, "try again when"), (400, "check DIVISIONS_ARTIFACTS")],
)  # fmt: skip
def test_a_refusal_names_the_status_the_reason_and_the_remedy(status, remedy):
    content = b'{"errors": [{"code": "CODE", "message": "line\\nbreak \\u001b[31m"}]}'
    registry = Registry(HEAD=reply(404), POST=reply(status, content))
    with pytest.raises(ArtifactStoreError, match=rf"status {status} \(CODE: line break \[31m\).*{remedy}"):
        push(registry)


@pytest.mark.parametrize(
    "content", [b"", b"<html>", b"[]", b'{"errors": []}', b'{"errors": [3]}', b"\xff", b"x" * 9_999_999]
)
def test_a_refusal_without_a_reason_is_told_as_well(content):
    with pytest.raises(ArtifactStoreError, match=r"starting an upload: status 500\."):
        push(Registry(HEAD=reply(404), POST=reply(500, content)))


@pytest.mark.parametrize(
    "error",
    [httpx.ConnectError("refused"), httpx.ReadTimeout(""), httpx.RemoteProtocolError("what")],
)
def test_a_registry_that_is_away_is_one_line(error):
    def fail(request: httpx.Request) -> httpx.Response:
        raise error

    with pytest.raises(ArtifactStoreError, match=r"the registry registry\.example does not answer as one: .+"):
        pull(Registry(GET=fail))


def test_a_manifest_is_pushed_by_its_digest_or_a_tag_and_read_back():
    manifest = ArtifactManifest("a/b", (Descriptor("a/c", DIGEST, 5, {"k": "v"}),))
    content = manifest.to_json()
    registry = Registry(HEAD=reply(200), PUT=reply(201), GET=reply(200, content))
    with registry.client() as client:
        digest = client.push_artifact(manifest)
        assert client.push_artifact(manifest, "tag") == digest == digest_of(content)
        assert client.pull_manifest("tag") == client.pull_manifest(digest) == content
    urls = [request.url.path for request in registry.requests if request.method == "PUT"]
    assert urls == [f"/v2/team/m/manifests/{digest}", "/v2/team/m/manifests/tag"]
    assert registry.requests[1].headers["Content-Type"] == MANIFEST_TYPE
    assert read_manifest(content, "it") == manifest
    assert json.loads(content)["layers"] == [
        {"mediaType": "a/c", "digest": DIGEST, "size": 5, "annotations": {"k": "v"}}
    ]


def test_another_manifest_than_the_digest_says_is_refused():
    with Registry(GET=reply(200, b"{}")).client() as client:
        assert client.pull_manifest("tag") == b"{}"
        with pytest.raises(ArtifactStoreError, match="sends another manifest than"):
            client.pull_manifest(digest_of(b"{ }"))


def test_a_manifest_that_is_not_there_is_none_and_one_that_never_ends_is_refused():
    with Registry(GET=reply(404), HEAD=reply(404)).client() as client:
        assert client.pull_manifest("tag") is None
        assert not client.has_manifest("tag")
    with (
        Registry(GET=reply(200, b" " * 5_000_000)).client() as client,
        pytest.raises(ArtifactStoreError, match="is over"),
    ):
        client.pull_manifest("tag")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b'{"artifactType": "a"}',
        b"\xff",
        b'{"artifactType":"a","layers":[{"mediaType":"a","digest":"md5:0","size":1}]}',
    ],
)
def test_what_is_no_manifest_of_an_artifact_is_told(content):
    with pytest.raises(ArtifactStoreError, match="it is no artifact"):
        read_manifest(content, "it")


def test_the_empty_config_is_that_of_the_specification():
    config = ArtifactManifest("a/b", ()).config
    assert config.digest == "sha256:" + hashlib.sha256(b"{}").hexdigest()
    assert (config.media_type, config.size) == ("application/vnd.oci.empty.v1+json", 2)


@pytest.mark.parametrize("place", ["", "http://[", "https://storage.example:99999/", "ftp://storage.example/x"])
def test_a_place_that_is_no_url_is_told(place):
    registry = Registry(
        GET=reply(302, Location=place), HEAD=reply(404), POST=reply(202, Location=place), PUT=reply(201)
    )
    for ask in (pull, push):
        with pytest.raises(ArtifactStoreError, match=r"does not answer as one: it sends to .*, which is no URL"):
            ask(registry)
