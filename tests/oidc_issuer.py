"""An issuer of JWTs on this machine: keys that rotate, served over HTTP, by a server that can also misbehave."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import functools
import json
import ssl
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from divisions.access.issuers import Issuer, RoleRule
from divisions.access.roles import Role

NAME = "https://issuer.example/realms/corp"
AUDIENCE = "divisions"
_HANG_S = 60.0
_DRIP_S = 0.05


@functools.cache
def private_key(kid: str):
    """The private key of that name; what it begins with says of which kind. Made once for all tests."""
    if kid.startswith("rsa"):
        return rsa.generate_private_key(65_537, 2_048)
    return ec.generate_private_key(ec.SECP256R1()) if kid.startswith("ec") else ed25519.Ed25519PrivateKey.generate()


def jwk(kid: str, /, **members: object) -> dict:
    """The public key as an issuer shows it."""
    kinds = {"rsa": (RSAAlgorithm, "RS256"), "ec": (ECAlgorithm, "ES256"), "ed": (OKPAlgorithm, "EdDSA")}
    kind, algorithm = next(found for begin, found in kinds.items() if kid.startswith(begin))
    public = kind.to_jwk(private_key(kid).public_key(), as_dict=True)
    return {**public, "kid": kid, "use": "sig", "alg": algorithm, **members}


def signed(kid: str, claims: dict, *, algorithm: str = "", headers: dict | None = None) -> str:
    """A JWT that the key of that name has signed."""
    return jwt.encode(claims, private_key(kid), algorithm or jwk(kid)["alg"], {"kid": kid, **(headers or {})})


def unsigned(header: dict, claims: dict, signature: bytes = b"") -> str:
    """What somebody writes who has no key."""
    parts = (json.dumps(header).encode(), json.dumps(claims).encode(), signature)
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def claims_at(now_s: float, **changes: object) -> dict:
    """Claims that are valid for five minutes; a change to None takes a claim away."""
    usual = {"iss": NAME, "aud": AUDIENCE, "sub": "ann", "exp": now_s + 300, "iat": now_s, "groups": ["churn-team"]}
    return {name: value for name, value in {**usual, **changes}.items() if value is not None}


RULES = (
    RoleRule("ml-admins", Role.ADMIN),
    RoleRule("churn-team", Role.DEPLOYER, ("churn",)),
    RoleRule("fraud-team", Role.DEPLOYER, ("fraud",)),
    RoleRule("everybody", Role.VIEWER),
)


def issuer_at(url: str, **changes: object) -> Issuer:
    usual = {"alias": "corp", "issuer": NAME, "audience": AUDIENCE, "jwks": url, "claim": "groups", "roles": RULES}
    return Issuer(**{**usual, **changes})


def issuers_file(folder: Path, url: str, roles: Sequence[str]) -> str:
    """Writes an issuer with its roles, each as ``value: …, role: …``; returns a value of ``DIVISIONS_OIDC_FILE``."""
    issuer = f"""
issuers:
  - alias: corp
    issuer: {NAME}
    audience: {AUDIENCE}
    jwks: {url}
    claim: groups
    roles:
"""
    path = folder / "oidc.yaml"
    path.write_text(issuer.lstrip() + "".join(f"      - {{{role}}}\n" for role in roles))
    return str(path)


@dataclasses.dataclass
class LocalIssuer:
    """The server. A test sets what it answers."""

    url: str = ""
    kids: tuple[str, ...] = ("rsa-1",)
    status: int = 200
    body: bytes | None = None
    """Instead of the keys."""
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    hangs: bool = False
    """Sends its head and half of its body, and no more until `release`."""
    drips: bool = False
    """Sends a byte now and then, until `release`."""
    seen: list[dict[str, str]] = dataclasses.field(default_factory=list)
    """The headers of each request."""
    release: threading.Event = dataclasses.field(default_factory=threading.Event)

    def answer(self) -> bytes:
        return json.dumps({"keys": [jwk(kid) for kid in self.kids]}).encode() if self.body is None else self.body


@contextlib.contextmanager
def local_issuer(certificate: Path | None = None) -> Iterator[LocalIssuer]:
    """Serves while entered; with TLS if there is a certificate."""
    it = LocalIssuer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            it.seen.append({name.lower(): value for name, value in self.headers.items()})
            body = it.answer()
            self.send_response(it.status)
            for name, value in {"content-length": str(len(body)), **it.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            with contextlib.suppress(OSError):  # the reader has had enough
                if it.hangs:
                    self.wfile.write(body[: len(body) // 2])
                    self.wfile.flush()
                    it.release.wait(_HANG_S)
                elif it.drips:
                    for byte in body:
                        self.wfile.write(bytes([byte]))
                        if it.release.wait(_DRIP_S):
                            break
                else:
                    self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.block_on_close = False
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    scheme = "http" if certificate is None else "https"
    it.url = f"{scheme}://127.0.0.1:{server.server_address[1]}/keys"
    try:
        yield it
    finally:
        it.release.set()
        server.shutdown()
        server.server_close()
        thread.join(30)
