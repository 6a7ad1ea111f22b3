"""A stand-in for Amazon's registry (ECR), over real HTTP, that does what docker-registry does not.

- The password is AWS's, for its own host only; one that has expired is answered with 403 and no challenge.
- A repository must have been made before anything is pushed to it.
- Uploads in chunks are taken, and all chunks but the first are lost.
- A blob is read from a bucket's host, by a redirect with a signature. That host refuses any ``Authorization``.
- A tag cannot be moved (``imageTagMutability=IMMUTABLE``), nor deleted: there are no deletions at all here.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import httpx

HOST = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
BUCKET = "prod-eu-west-1-starport-layer-bucket.s3.eu-west-1.amazonaws.com"
_PATH = re.compile(r"/v2/(?P<repository>.+)/(?P<kind>blobs/uploads|blobs|manifests)/(?P<name>[^/]*)")


class EcrRegistry:
    """The registry and its bucket, on one port; `transport` leads there from their real names."""

    def __init__(self) -> None:
        self.repositories: dict[str, dict[str, bytes]] = {}
        """Manifests by repository and by tag or digest."""
        self.blobs: dict[str, bytes] = {}
        self.passwords = {"p-1"}
        self.refuses_all = False
        self.uploads: dict[str, list[bytes]] = {}
        self.calls: list[tuple[str, str, str]] = []
        """Host, method and path of each request."""
        self.leaks: list[str] = []
        """Hosts that got a password of the registry."""
        self.api_calls: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def transport(self) -> httpx.BaseTransport:
        return _ToStandIn(self._server.server_address[1])

    def __enter__(self) -> EcrRegistry:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _ToStandIn(httpx.BaseTransport):
    """Sends what is meant for any host to the stand-in, with its name as ``Host``."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._inner = httpx.HTTPTransport()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url.copy_with(scheme="http", host="127.0.0.1", port=self._port)
        moved = httpx.Request(request.method, url, headers=request.headers, stream=request.stream)
        return self._inner.handle_request(moved)

    def close(self) -> None:
        self._inner.close()


def _handler(registry: EcrRegistry) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            host = self.headers["Host"]
            body = self._body()
            if "X-Amz-Target" in self.headers:
                self._api(self.headers["X-Amz-Target"].rpartition(".")[2], json.loads(body or b"{}"))
                return
            registry.calls.append((host, self.command, self.path))
            if host != HOST and "Authorization" in self.headers:
                registry.leaks.append(host)
            if host == BUCKET:
                self._bucket()
            else:
                self._registry(body)

        do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _serve

        def _api(self, action: str, given: dict[str, object]) -> None:
            registry.api_calls.append(action)
            if action == "GetAuthorizationToken":
                newest = sorted(registry.passwords)[-1]
                token = base64.b64encode(f"AWS:{newest}".encode()).decode()
                self._json(
                    200, {"authorizationData": [{"authorizationToken": token, "proxyEndpoint": f"https://{HOST}"}]}
                )
            elif str(given["repositoryName"]) in registry.repositories:
                self._json(400, {"__type": "RepositoryAlreadyExistsException", "message": "it exists"})
            else:
                assert given["imageTagMutability"] == "IMMUTABLE"
                registry.repositories[str(given["repositoryName"])] = {}
                self._json(200, {"repository": {}})

        def _registry(self, body: bytes) -> None:
            given = self.headers.get("Authorization", "")
            if not given:
                self._send(401, b"", {"WWW-Authenticate": f'Basic realm="https://{HOST}/",service="ecr.amazonaws.com"'})
                return
            password = base64.b64decode(given.removeprefix("Basic ")).decode().partition(":")[2]
            if password not in registry.passwords or registry.refuses_all:
                said = "Your authorization token has expired. Reauthenticate and try again."
                self._refuse(403, "DENIED", said)
                return
            found = _PATH.fullmatch(urlsplit(self.path).path)
            assert found is not None, self.path
            repository, name = found["repository"], found["name"]
            if repository not in registry.repositories:
                said = f"The repository with name '{repository}' does not exist in the registry with id '123456789012'"
                self._refuse(404, "NAME_UNKNOWN", said)
            elif found["kind"] == "blobs/uploads":
                self._upload(repository, name, body)
            elif found["kind"] == "blobs":
                self._blob(name)
            else:
                self._manifest(registry.repositories[repository], name, body)

        def _upload(self, repository: str, name: str, body: bytes) -> None:
            if self.command == "POST":
                name = f"upload-{len(registry.uploads)}"
                registry.uploads[name] = []
                self._send(202, b"", {"Location": f"/v2/{repository}/blobs/uploads/{name}"})
            elif self.command == "PATCH":
                registry.uploads[name].append(body)
                self._send(201, b"", {"Location": f"/v2/{repository}/blobs/uploads/{name}"})
            else:
                content = b"".join(registry.uploads.pop(name)[:1]) or body
                (digest,) = parse_qs(urlsplit(self.path).query)["digest"]
                if f"sha256:{hashlib.sha256(content).hexdigest()}" != digest:
                    self._refuse(400, "DIGEST_INVALID", "Layer digest does not match")
                    return
                registry.blobs[digest] = content
                self._send(201, b"")

        def _blob(self, digest: str) -> None:
            if digest not in registry.blobs:
                self._refuse(404, "BLOB_UNKNOWN", "blob unknown")
            elif self.command == "HEAD":
                self._send(200, registry.blobs[digest])
            else:
                self._send(307, b"", {"Location": f"https://{BUCKET}/{digest}?X-Amz-Signature=abc"})

        def _bucket(self) -> None:
            if "Authorization" in self.headers:
                self._send(400, b"<Error><Code>InvalidArgument</Code></Error>")
                return
            self._send(200, registry.blobs[urlsplit(self.path).path.lstrip("/")])

        def _manifest(self, manifests: dict[str, bytes], reference: str, body: bytes) -> None:
            if self.command == "PUT":
                if manifests.get(reference, body) != body:
                    said = f"The image tag '{reference}' already exists and cannot be overwritten: it is immutable."
                    self._refuse(400, "TAG_INVALID", said)
                    return
                manifests[reference] = manifests[f"sha256:{hashlib.sha256(body).hexdigest()}"] = body
                self._send(201, b"")
            elif self.command == "DELETE":
                self._refuse(405, "UNSUPPORTED", "The operation is unsupported.")
            elif reference not in manifests:
                self._refuse(404, "MANIFEST_UNKNOWN", "Requested image not found")
            else:
                self._send(200, manifests[reference])

        def _body(self) -> bytes:
            return self.rfile.read(int(self.headers.get("Content-Length", "0")))

        def _json(self, status: int, document: object) -> None:
            self._send(status, json.dumps(document).encode(), {"Content-Type": "application/x-amz-json-1.1"})

        def _refuse(self, status: int, code: str, message: str) -> None:
            self._send(status, json.dumps({"errors": [{"code": code, "message": message}]}).encode())

        def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    return Handler
