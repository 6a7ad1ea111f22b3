"""A client of one repository of an OCI registry (distribution specification 1.1).

A blob is pushed by one POST and one PUT: chunked uploads cannot be resumed reliably, and Amazon's registry loses all
chunks but the first. What is there already is not sent again, so a push that was cut off is simply repeated. Everything
pulled is hashed while it comes, and kept only if the digest is the one that was asked for. Credentials go to the
registry's own origin, and to the token service that it names over HTTPS, nowhere else.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final
from urllib.parse import quote, urljoin, urlsplit

import httpx

from divisions.errors import ArtifactStoreError
from divisions.oci.login import Challenge, Credentials, parse_challenges
from divisions.oci.manifest import (
    EMPTY,
    EMPTY_CONFIG,
    INDEX_TYPE,
    MANIFEST_TYPE,
    MAX_MANIFEST_BYTES,
    ArtifactManifest,
)
from divisions.oci.reference import Repository, digest_of, is_digest, is_loopback
from divisions.oci.refusals import error_text, remedy_of

_ANSWER_S: Final = 30.0
_CONNECT_S: Final = 5.0
_TIMEOUT: Final = httpx.Timeout(_ANSWER_S, connect=_CONNECT_S)
_STORED_BYTES_PER_S: Final = 10_000_000
_CHUNK_BYTES: Final = 1 << 20
_MAX_REPLY_BYTES: Final = 1 << 20
_MAX_REDIRECTS: Final = 5
_MAX_PORT: Final = 65_535
_ACCEPT: Final = {
    "Accept": f"{MANIFEST_TYPE}, {INDEX_TYPE},"
    " application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json"
}


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list, and where the next one is; empty after the last."""

    content: bytes
    next_url: str


class RegistryClient:
    """Pushes to and pulls from one repository. Not for several threads at once.

    Every method raises `ArtifactStoreError` if the registry does not answer, refuses, or sends something else than was
    asked for.

    Args:
        repository: where.
        credentials: gives those for this registry, or None; asked only when the registry wants some.
        transport: of httpx; tests put theirs here.
        create: makes the repository, where the registry does not do that by itself.
        mounts_from: a repository of the same registry whose blobs `mount_blob` takes; a login asks for it as well.
    """

    def __init__(
        self,
        repository: Repository,
        credentials: Callable[[], Credentials | None],
        transport: httpx.BaseTransport | None = None,
        create: Callable[[], None] | None = None,
        *,
        mounts_from: str = "",
    ) -> None:
        self.repository = repository
        self._mounts_from = mounts_from
        self._credentials = credentials
        self._client = httpx.Client(timeout=_TIMEOUT, transport=transport)
        self._create = create
        self._authorization = ""

    def __enter__(self) -> RegistryClient:
        return self

    def __exit__(self, *exception: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._client.close()

    def has_blob(self, digest: str) -> bool:
        with self._sent("HEAD", self._url(f"blobs/{digest}")) as reply:
            return self._is_there(reply, f"looking for {digest}")

    def push_blob(self, digest: str, size: int, opened: Callable[[], BinaryIO]) -> bool:
        """Pushes ``size`` bytes, unless the registry has them; returns whether they were sent.

        Args:
            opened: opens the content at its start; called again if the registry wants another login.
        """
        if self.has_blob(digest):
            return False
        place = self._begin_upload(self._create)
        target = f"{place}{'&' if '?' in place else '?'}digest={quote(digest)}"  # It may have a query already.
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
        with self._sent("PUT", target, headers=headers, opened=opened) as reply:
            self._require(reply, {201}, f"pushing {digest}")
        return True

    def _begin_upload(self, create: Callable[[], None] | None) -> str:
        """Where a blob is to be sent. A repository that is missing is made, if we can, and asked once more."""
        with self._sent("POST", self._url("blobs/uploads/"), headers={"Content-Length": "0"}) as reply:
            if reply.status_code != httpx.codes.NOT_FOUND or create is None:
                self._require(reply, {202}, "starting an upload")
                return self._place(str(reply.url), reply.headers.get("Location", ""))
        create()
        return self._begin_upload(None)

    def mount_blob(self, digest: str) -> bool:
        """Takes a blob from the repository ``mounts_from`` without sending it; returns whether it is here now.

        A registry may decline: then the blob has to be pushed.
        """
        if self.has_blob(digest):
            return True
        url = self._url(f"blobs/uploads/?mount={quote(digest)}&from={quote(self._mounts_from, safe='')}")
        with self._sent("POST", url, headers={"Content-Length": "0"}) as reply:
            self._require(reply, {201, 202, 401, 403, 404}, f"mounting {digest}")
            return reply.status_code == httpx.codes.CREATED

    def pull_blob(self, digest: str, size: int, path: Path) -> None:
        """Writes a blob to ``path``, which exists afterwards only if size and digest are right."""
        part = path.with_name(f"{path.name}.part")
        try:
            with self._sent("GET", self._url(f"blobs/{digest}")) as reply:
                self._require(reply, {200}, f"pulling {digest}")
                found, received = hashlib.sha256(), 0
                with part.open("wb") as file:
                    for chunk in _read(reply, self.repository):
                        received += len(chunk)
                        if received > size:
                            break
                        found.update(chunk)
                        file.write(chunk)
            if received != size or f"sha256:{found.hexdigest()}" != digest:
                raise ArtifactStoreError(
                    f"{self.repository} sends other bytes than {digest}", remedy="push the artifact again"
                )
            os.replace(part, path)
        except OSError as error:
            raise ArtifactStoreError(
                f"{path.parent} cannot take a blob of {self.repository}: {error.strerror}",
                remedy="check the disk's space and permissions",
            ) from None
        finally:
            with suppress(OSError):
                part.unlink()

    def push_artifact(self, manifest: ArtifactManifest, tag: str = "") -> str:
        """Pushes a manifest, whose blobs are there already, under a tag or only its digest; returns the digest."""
        self.push_blob(EMPTY_CONFIG.digest, EMPTY_CONFIG.size, lambda: io.BytesIO(EMPTY))
        content = manifest.to_json()
        digest = digest_of(content)
        self.push_manifest(content, MANIFEST_TYPE, tag or digest)
        return digest

    def push_manifest(self, content: bytes, media_type: str, reference: str) -> None:
        """Pushes a manifest or an index under a tag or its digest."""
        headers = {"Content-Type": media_type, "Content-Length": str(len(content))}
        url = self._url(f"manifests/{reference}")
        with self._sent("PUT", url, headers=headers, opened=lambda: io.BytesIO(content)) as reply:
            self._require(reply, {201}, f"pushing the manifest of {reference}")

    def pull_manifest(self, reference: str) -> bytes | None:
        """A manifest's bytes by its tag or digest; None if there is none. By digest, they are checked."""
        content = self._pull(f"manifests/{reference}", reference)
        if content is None:
            return None
        if is_digest(reference) and digest_of(content) != reference:
            raise ArtifactStoreError(
                f"{self.repository} sends another manifest than {reference}", remedy="push the artifact again"
            )
        return content

    def delete_manifest(self, tag: str) -> None:
        """Deletes what a tag names. Some registries refuse that to everybody (405), and collect by rules of theirs."""
        content = self.pull_manifest(tag)
        if content is not None:
            with self._sent("DELETE", self._url(f"manifests/{digest_of(content)}")) as reply:
                self._require(reply, {202, 404}, f"deleting {tag}")

    def pull_referrers(self, digest: str, artifact_type: str, url: str = "") -> Page | None:
        """A page of the list of manifests whose subject has this digest; None if the registry keeps no such list.

        Args:
            artifact_type: what is wanted. A registry may list other types as well.
            url: of a later page, as the one before it has it.
        """
        first = self._url(f"referrers/{digest}?artifactType={quote(artifact_type, safe='')}")
        with self._sent("GET", url or first, headers=_ACCEPT) as reply:
            content = self._content(reply, f"referrers of {digest}")
            if content is None:
                return None
            named = reply.links.get("next", {}).get("url", "")
            return Page(content, self._place(str(reply.url), named) if named else "")

    def has_manifest(self, reference: str) -> bool:
        with self._sent("HEAD", self._url(f"manifests/{reference}"), headers=_ACCEPT) as reply:
            return self._is_there(reply, f"looking for {reference}")

    def _pull(self, path: str, what: str) -> bytes | None:
        with self._sent("GET", self._url(path), headers=_ACCEPT) as reply:
            return self._content(reply, what)

    def _content(self, reply: httpx.Response, what: str) -> bytes | None:
        if not self._is_there(reply, f"looking for {what}"):
            return None
        content = b""
        for chunk in _read(reply, self.repository):
            content += chunk
            if len(content) > MAX_MANIFEST_BYTES:
                raise ArtifactStoreError(
                    f"the manifest {what} of {self.repository} is over {MAX_MANIFEST_BYTES} bytes",
                    remedy="push the artifact again",
                )
        return content

    # -- sending ------------------------------------------------------------------------------------------------

    def _url(self, path: str) -> str:
        return f"{self.repository.origin}/v2/{self.repository.path}/{path}"

    @contextmanager
    def _sent(
        self,
        method: str,
        url: str,
        *,
        headers: dict[str, str] | None = None,
        opened: Callable[[], BinaryIO] | None = None,
    ) -> Iterator[httpx.Response]:
        """Sends a request, once more after a login if the registry wants one."""
        try:
            reply = self._follow(method, url, headers or {}, opened)
            try:
                is_new = reply.status_code == httpx.codes.UNAUTHORIZED and self._log_in(reply)
                if is_new or (reply.status_code == httpx.codes.FORBIDDEN and self._renew(reply)):
                    reply.close()
                    reply = self._follow(method, url, headers or {}, opened)
                yield reply
            finally:
                reply.close()
        except httpx.HTTPError as error:
            raise self._away(str(error) or type(error).__name__) from None

    def _follow(
        self, method: str, url: str, headers: dict[str, str], opened: Callable[[], BinaryIO] | None
    ) -> httpx.Response:
        for _ in range(_MAX_REDIRECTS):
            own = {"Authorization": self._authorization} if self._authorization and self._is_own(url) else {}
            if opened is None:
                request = self._client.build_request(method, url, headers=headers | own)
                reply = self._client.send(request, stream=True)
            else:
                with opened() as content:
                    request = self._client.build_request(
                        method, url, headers=headers | own, content=_chunks(content), timeout=_patience(headers)
                    )
                    reply = self._client.send(request, stream=True)
            if not reply.is_redirect or method not in {"GET", "HEAD"}:
                return reply
            reply.close()
            url = self._place(url, reply.headers.get("Location", ""))
        raise self._away("it redirects in circles")

    def _place(self, url: str, named: str) -> str:
        """Where the registry sends us; never out of TLS."""
        try:
            place = httpx.URL(urljoin(url, named))
        except (httpx.InvalidURL, ValueError):
            place = httpx.URL("")
        is_port = place.port is None or place.port <= _MAX_PORT
        if not named or place.scheme not in {"http", "https"} or not place.host or not is_port:
            raise self._away(f"it sends to {named[:80]!r}, which is no URL")
        if self.repository.scheme == "https" and place.scheme != "https":
            raise self._away(f"it sends to {place.host} without TLS")
        return str(place)

    def _is_own(self, url: str) -> bool:
        found, own = httpx.URL(url), httpx.URL(self.repository.origin)
        return (found.scheme, found.host, found.port) == (own.scheme, own.host, own.port)

    def _log_in(self, reply: httpx.Response) -> bool:
        """Does what the registry asks for; returns whether it is worth asking again."""
        if not self._is_own(str(reply.url)):
            return False
        challenges = parse_challenges(", ".join(reply.headers.get_list("WWW-Authenticate")))
        bearer = next((each for each in challenges if each.scheme == "bearer"), None)
        wants_basic = any(each.scheme == "basic" for each in challenges)
        credentials = self._credentials()
        if credentials is not None and self.repository.scheme == "http" and not is_loopback(self.repository.host):
            raise ArtifactStoreError(
                f"{self.repository.host} asks for a password over plain HTTP", remedy="use oci:// with TLS"
            )
        before = self._authorization
        if bearer is not None:
            self._authorization = f"Bearer {self._token(bearer, credentials)}"
        elif wants_basic and credentials is not None:
            self._authorization = credentials.basic
        return self._authorization != before

    def _renew(self, reply: httpx.Response) -> bool:
        """Takes another password, if there is one: Amazon's answers one that has expired with 403, and no challenge."""
        before = self._authorization
        if before.startswith("Basic ") and self._is_own(str(reply.url)):
            credentials = self._credentials()
            self._authorization = before if credentials is None else credentials.basic
        return self._authorization != before

    def _token(self, challenge: Challenge, credentials: Credentials | None) -> str:
        """A token of the service that the registry names (the token authentication specification)."""
        realm = challenge.parameters.get("realm", "")
        parts = urlsplit(realm)
        if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.netloc)):
            raise self._away(f"its token service {realm[:80]!r} does not speak HTTPS")
        # What was asked for before is asked for as well: one token serves pulls and pushes.
        scope = challenge.parameters.get("scope", f"repository:{self.repository.path}:pull,push")
        scopes = [scope, *([f"repository:{self._mounts_from}:pull"] if self._mounts_from else [])]
        query = {"service": challenge.parameters.get("service", ""), "scope": scopes}
        headers = {} if credentials is None else {"Authorization": credentials.basic}
        reply = self._client.get(realm, params=query, headers=headers)
        if reply.status_code != httpx.codes.OK:
            raise self._refused(reply.status_code, "its token service refuses", reply.content)
        try:
            found = reply.json()
            token = str(found.get("token") or found["access_token"])
        except (ValueError, LookupError, AttributeError):
            raise self._away("its token service sends no token") from None
        return token

    # -- replies ------------------------------------------------------------------------------------------------

    def _is_there(self, reply: httpx.Response, doing: str) -> bool:
        if reply.status_code == httpx.codes.NOT_FOUND:
            return False
        self._require(reply, {200}, doing)
        return True

    def _require(self, reply: httpx.Response, statuses: set[int], doing: str) -> None:
        if reply.status_code not in statuses:
            content = b"" if reply.request.method == "HEAD" else _head(reply)
            raise self._refused(reply.status_code, doing, content)

    def _refused(self, status: int, doing: str, content: bytes) -> ArtifactStoreError:
        text = error_text(content)
        return ArtifactStoreError(
            f"{self.repository}: {doing}: status {status}{f' ({text})' if text else ''}", remedy=remedy_of(status)
        )

    def _away(self, why: str) -> ArtifactStoreError:
        return ArtifactStoreError(
            f"the registry {self.repository.host} does not answer as one: {' '.join(why.split())[:200]}",
            remedy="check its address, its certificate (SSL_CERT_FILE) and the network",
        )


def _patience(headers: dict[str, str]) -> httpx.Timeout:
    """How long an upload may take to be answered: after its last byte, a registry may still move it to its storage."""
    return httpx.Timeout(
        _ANSWER_S, connect=_CONNECT_S, read=_ANSWER_S + int(headers["Content-Length"]) / _STORED_BYTES_PER_S
    )


def _chunks(content: BinaryIO) -> Iterator[bytes]:
    while chunk := content.read(_CHUNK_BYTES):
        yield chunk


def _read(reply: httpx.Response, repository: Repository) -> Iterator[bytes]:
    """The body as it was stored: an encoding of the transport would change what is hashed."""
    if reply.headers.get("Content-Encoding", "identity") != "identity":
        raise ArtifactStoreError(f"{repository} sends compressed replies", remedy="turn its compression off")
    yield from reply.iter_raw(_CHUNK_BYTES)


def _head(reply: httpx.Response) -> bytes:
    return next(reply.iter_raw(_MAX_REPLY_BYTES), b"")
