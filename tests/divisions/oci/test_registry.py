"""A registry that misbehaves: no byte is believed, no credential leaves its origin, and each fault is one line."""

import contextlib
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


class Body(httpx.SyncByteStream):
    """Counts what is read of it."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.num_read = 0
        self.is_closed = False

    def __iter__(self):
        for start in range(0, len(self.content), 65_536):
            part = self.content[start : start + 65_536]
            self.num_read += len(part)
            yield part

    def close(self) -> None:
        self.is_closed = True


class Registry(httpx.MockTransport):
    """Answers by a table of (method, start of the path); keeps what it was asked."""

    def __init__(self, **replies) -> None:
        super().__init__(self.answer)
        self.replies = replies
        self.requests: list[httpx.Request] = []
        self.bodies: list[bytes] = []
        self.sent: list[Body] = []
        self.is_closed = False

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        self.bodies.append(request.read())
        key = request.method if request.url.host == "registry.example" else request.url.host.replace(".", "_")
        answer = self.replies[key](request)
        self.sent.append(answer.stream)
        return answer

    def close(self) -> None:
        """The client closes what it has opened, and every reply before."""
        assert all(body.is_closed for body in self.sent if isinstance(body, Body))
        self.is_closed = True

    def client(self, address: str = "oci://registry.example/team/m", credentials: Credentials | None = ME, **kinds):
        return RegistryClient(parse_repository(address), lambda: credentials, self, **kinds)

    def sent_to(self, host: str) -> list[httpx.Request]:
        return [request for request in self.requests if request.url.host == host]


def reply(status: int = 200, content: bytes = b"", **headers: str):
    """Answers each request so."""
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return lambda request: httpx.Response(status, stream=Body(content), headers=named)


def pull(registry: Registry, content: bytes = BLOB, **kinds) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "blob"
        try:
            with registry.client(**kinds) as client:
                client.pull_blob(digest_of(content), len(content), target)
            return target.read_bytes()
        finally:
            assert registry.is_closed
            left = sorted(path.name for path in Path(folder).iterdir())
            assert left in ([], ["blob"]), "nothing half is left"


def basic(status: int = 200, content: bytes = b"", **headers: str):
    """Wants the password, then answers."""

    def answer(request: httpx.Request) -> httpx.Response:
        if request.headers.get("Authorization") != ME.basic:
            return reply(401, WWW_Authenticate='Basic realm="r"')(request)
        return reply(status, content, **headers)(request)

    return answer


@pytest.mark.parametrize("content", [b"", BLOB, BLOB * 900])
def test_a_blob_that_is_right_is_kept(content):
    assert pull(Registry(GET=reply(200, content)), content) == content


def test_a_blob_that_is_longer_than_asked_for_is_not_read_to_its_end():
    registry = Registry(GET=reply(200, b"x" * 10_000_000))
    with pytest.raises(ArtifactStoreError, match="sends other bytes"):
        pull(registry)
    assert registry.sent[0].num_read < 2_000_000


def test_a_disk_that_takes_no_blob_is_told():
    with (
        Registry(GET=reply(200, BLOB)).client() as client,
        pytest.raises(
            ArtifactStoreError, match=r"/absent cannot take a blob of registry\.example/team/m: No such file"
        ),
    ):
        client.pull_blob(DIGEST, len(BLOB), Path("/absent/blob"))


def test_a_registry_has_five_seconds_to_be_reached_and_thirty_to_answer():
    registry = Registry(GET=reply(200, BLOB))
    pull(registry)
    limits = registry.requests[0].extensions["timeout"]
    assert limits == {"connect": 5.0, "read": 30.0, "write": 30.0, "pool": 30.0}


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


def test_a_storage_is_not_logged_in_to():
    registry = Registry(
        GET=reply(307, Location="https://storage.example/x"),
        storage_example=reply(401, WWW_Authenticate='Basic realm="please"'),
    )
    with pytest.raises(ArtifactStoreError, match="status 401"):
        pull(registry)
    assert len(registry.requests) == 2


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
        ("https://registry.example:65535/u", "https://registry.example:65535/u?digest="),
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


def mount(registry: Registry) -> bool:
    with registry.client(mounts_from="team/base") as client:
        return client.mount_blob(DIGEST)


def test_a_blob_of_another_repository_is_taken_without_sending_it():
    registry = Registry(HEAD=reply(404), POST=reply(201))
    assert mount(registry)
    assert dict(registry.requests[-1].url.params) == {"mount": DIGEST, "from": "team/base"}
    assert registry.bodies[-1] == b""


def test_a_blob_that_is_here_needs_no_mount():
    registry = Registry(HEAD=reply(200))
    assert mount(registry)
    assert [request.method for request in registry.requests] == ["HEAD"]


@pytest.mark.parametrize("status", [202, 401, 403, 404])
def test_a_registry_may_decline_a_mount(status):
    assert not mount(Registry(HEAD=reply(404), POST=reply(status, Location="/up")))


def test_a_registry_that_fails_is_not_taken_for_one_that_declines():
    with pytest.raises(ArtifactStoreError, match=r"mounting sha256:.*: status 500"):
        mount(Registry(HEAD=reply(404), POST=reply(500)))


def test_a_token_for_mounts_is_asked_for_at_once():
    def answer(request: httpx.Request) -> httpx.Response:
        return (reply(404) if "Authorization" in request.headers else bearer())(request)

    registry = Registry(HEAD=answer, POST=reply(201), auth_example=reply(200, b'{"token": "T"}'))
    assert mount(registry)
    (asked,) = registry.sent_to("auth.example")
    assert asked.url.params.get_list("scope") == ["repository:team/m:pull", "repository:team/base:pull"]


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


@pytest.mark.parametrize("realm", ["http://auth.example/token", "", "file:///etc/passwd", "file://127.0.0.1/"])
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


def test_a_token_service_of_this_machine_may_do_without_tls():
    registry = Registry(GET=bearer("http://127.0.0.1:9/token"), **{"127_0_0_1": reply(200, b'{"token": "T"}')})
    assert pull(registry) == BLOB


@pytest.mark.parametrize(
    ("challenge", "credentials", "num_requests"), [("Negotiate", ME, 1), ('Basic realm="r"', None, 1), ("", ME, 1)]
)
def test_a_login_of_a_kind_that_we_cannot_do_is_not_tried(challenge, credentials, num_requests):
    registry = Registry(GET=reply(401, WWW_Authenticate=challenge))
    with pytest.raises(ArtifactStoreError, match="status 401"):
        pull(registry, credentials=credentials)
    assert [request.headers.get("Authorization") for request in registry.requests] == [None] * num_requests


def test_of_several_logins_the_one_that_we_can_do_is_taken():
    def answer(request: httpx.Request) -> httpx.Response:
        if request.headers.get("Authorization") != ME.basic:
            return reply(401, WWW_Authenticate='Negotiate, Basic realm="r"')(request)
        return reply(200, BLOB)(request)

    assert pull(Registry(GET=answer)) == BLOB


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


@pytest.mark.parametrize(("size", "is_shown"), [(1 << 20, True), ((1 << 20) + 1, False)])
@pytest.mark.parametrize("replies", [{"POST": 500}, {"POST": 202, "PUT": 500}])
def test_a_reason_is_read_up_to_a_mebibyte(size, is_shown, replies):
    content = b'{"errors": [{"code": "CODE"}]' + b"}".rjust(size - 29)
    kinds = {method: reply(status, content, Location="/up") for method, status in replies.items()}
    with pytest.raises(ArtifactStoreError) as caught:
        push(Registry(HEAD=reply(404), **kinds))
    assert ("CODE" in str(caught.value)) is is_shown


@pytest.mark.parametrize("replies", [{"POST": 500}, {"POST": 202, "PUT": 500}])
def test_a_reason_that_never_ends_is_not_read_to_its_end(replies):
    kinds = {method: reply(status, b"x" * 9_999_999, Location="/up") for method, status in replies.items()}
    registry = Registry(HEAD=reply(404), **kinds)
    with pytest.raises(ArtifactStoreError, match="status 500"):
        push(registry)
    assert registry.sent[-1].num_read < 2_000_000


def test_of_a_long_reason_two_hundred_characters_are_told():
    content = json.dumps({"errors": [{"code": "C", "message": "m" * 999}]}).encode()
    with pytest.raises(ArtifactStoreError, match=r"\(C: m{197}\)"):
        push(Registry(HEAD=reply(404), POST=reply(500, content)))


@pytest.mark.parametrize("replies", [{"HEAD": 500}, {"HEAD": 404, "POST": 202, "PUT": 400}, {"HEAD": 200, "PUT": 400}])
def test_an_artifact_is_pushed_only_if_every_step_succeeds(replies):
    kinds = {method: reply(status, b"", Location="/up") for method, status in replies.items()}
    with Registry(**kinds).client() as client, pytest.raises(ArtifactStoreError, match=r"status (400|500)"):
        client.push_artifact(ArtifactManifest("a/b", ()))


def test_a_blob_that_the_registry_does_not_take_is_told():
    with pytest.raises(ArtifactStoreError, match=r"pushing sha256:.*status 400"):
        push(Registry(HEAD=reply(404), POST=reply(202, Location="/up"), PUT=reply(400)))


def test_the_config_of_an_artifact_is_pushed_with_it():
    registry = uploads("/up")
    with registry.client() as client:
        client.push_artifact(ArtifactManifest("a/b", ()))
    assert b"{}" in registry.bodies


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
    assert json.loads(content)["schemaVersion"] == 2
    assert json.loads(content)["layers"] == [
        {"mediaType": "a/c", "digest": DIGEST, "size": 5, "annotations": {"k": "v"}}
    ]


def test_another_manifest_than_the_digest_says_is_refused():
    with Registry(GET=reply(200, b"{}")).client() as client:
        assert client.pull_manifest("tag") == b"{}"
        with pytest.raises(ArtifactStoreError, match="sends another manifest than"):
            client.pull_manifest(digest_of(b"{ }"))


def test_a_manifest_that_is_not_there_is_none():
    with Registry(GET=reply(404), HEAD=reply(404)).client() as client:
        assert client.pull_manifest("tag") is None
        assert not client.has_manifest("tag")


def test_a_manifest_has_at_most_four_mebibytes():
    most = b" " * (4 << 20)
    with Registry(GET=reply(200, most)).client() as client:
        assert client.pull_manifest("tag") == most
    with (
        Registry(GET=reply(200, most + b" ")).client() as client,
        pytest.raises(ArtifactStoreError, match="is over 4194304 bytes"),
    ):
        client.pull_manifest("tag")


@pytest.mark.parametrize(("size", "is_right"), [(-1, False), (0, True), (1, True)])
def test_a_blob_may_be_empty_but_not_shorter(size, is_right):
    content = json.dumps({"artifactType": "a", "layers": [{"mediaType": "a", "digest": DIGEST, "size": size}]}).encode()
    with contextlib.nullcontext() if is_right else pytest.raises(ArtifactStoreError, match="needs a sha256 digest"):
        read_manifest(content, "it")


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


@pytest.mark.parametrize("place", ["", "http://[", "https://storage.example:65536/", "ftp://storage.example/x"])
def test_a_place_that_is_no_url_is_told(place):
    registry = Registry(
        GET=reply(302, Location=place), HEAD=reply(404), POST=reply(202, Location=place), PUT=reply(201)
    )
    for ask in (pull, push):
        with pytest.raises(ArtifactStoreError, match=r"does not answer as one: it sends to .*, which is no URL"):
            ask(registry)


def test_a_large_upload_may_take_its_time_to_be_answered():
    """Registries answer when they have moved it into their storage."""
    registry = uploads()
    with registry.client() as client:
        client.push_blob(DIGEST, len(BLOB), lambda: io.BytesIO(BLOB))
    post, put = registry.requests[-2:]
    assert (post.extensions["timeout"]["read"], put.extensions["timeout"]["connect"]) == (30.0, 5.0)
    assert put.extensions["timeout"]["read"] == 30.0 + len(BLOB) / 10_000_000
