"""An issuer of JWTs for benchmarks: a key of its own, shown over HTTP on this machine, and JWTs right and wrong.

A wrong one is wrong in one way that is known to have worked somewhere: no signature, the public key taken for a shared
secret, another's key under a known name, a name or an address of the key that the token brings itself.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import http.server
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jwt
import msgspec
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

NAME = "https://issuer.example"
AUDIENCE = "divisions"
KID = "key-1"
_FILE = """
issuers:
  - alias: corp
    issuer: {name}
    audience: {audience}
    jwks: {url}
    claim: groups
    roles:
      - {{value: apps, role: predictor, {limits}}}
      - {{value: people, role: viewer}}
"""
_LIMITS = "rate: 50/s, concurrency: 8, deadline: 800ms"


class LocalIssuer:
    """See the module.

    Args:
        now_s: wall clock, from which the JWTs are valid.
    """

    def __init__(self, now_s: float) -> None:
        self._now_s = now_s
        self._key = rsa.generate_private_key(65_537, 2_048)
        self._other = rsa.generate_private_key(65_537, 2_048)

    def jwks(self) -> bytes:
        public: dict[str, Any] = RSAAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        return msgspec.json.encode({"keys": [public | {"kid": KID, "use": "sig", "alg": "RS256"}]})

    def right(self) -> list[str]:
        """JWTs of roles that may change nothing, and of nobody's."""
        return [self._signed(groups=[group], sub=f"{group}-1") for group in ("apps", "people", "nobody")]

    def wrong(self) -> list[str]:
        """JWTs that must open nothing."""
        pem = self._key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        bare = f"{_part({'alg': 'HS256', 'kid': KID})}.{_part(self._claims(groups=['apps']))}"
        taken_for_secret = base64.urlsafe_b64encode(hmac.new(pem, bare.encode(), hashlib.sha256).digest())
        right = self._signed()
        return [
            self._signed(exp=self._now_s - 3_600),
            self._signed(nbf=self._now_s + 86_400),
            self._signed(aud="other"),
            self._signed(iss="https://evil.example"),
            self._signed(sub=None),
            self._signed(key=self._other),
            *[self._signed(kid=kid) for kid in ("../../dev/null", "' OR 1=1 --", "key-1\x00", "", "k" * 2_000)],
            self._signed(headers={"jku": "http://127.0.0.1:1/keys", "jwk": {"kty": "oct", "k": ""}}, key=self._other),
            self._signed(headers={"crit": ["b64"], "b64": False}),
            f"{_part({'alg': 'none', 'kid': KID})}.{_part(self._claims(groups=['apps']))}.",
            f"{_part({'alg': ['RS256'], 'kid': KID})}.{_part(self._claims(groups=['apps']))}.AAAA",
            f"{bare}.{taken_for_secret.rstrip(b'=').decode()}",
            right[:-4],
            right.replace(".", "..", 1),
            self._signed(groups=["apps"] * 4_000),
            f"{_part({'alg': 'RS256', 'kid': KID, 'x': 'y' * 30_000})}.e30.AAAA",
            f"{base64.urlsafe_b64encode(b'[' * 3_000).rstrip(b'=').decode()}.e30.AAAA",
        ]

    def _claims(self, **changes: object) -> dict[str, object]:
        usual = {"iss": NAME, "aud": AUDIENCE, "sub": "app-1", "exp": self._now_s + 86_400}
        return {name: value for name, value in (usual | changes).items() if value is not None}

    def _signed(
        self,
        kid: str = KID,
        key: rsa.RSAPrivateKey | None = None,
        headers: Mapping[str, object] = MappingProxyType({}),
        groups: Sequence[str] = ("apps",),
        **claims: object,
    ) -> str:
        document = self._claims(groups=list(groups), **claims)
        return jwt.encode(document, key or self._key, "RS256", {"kid": kid, **headers})


def _part(document: object) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(document)).rstrip(b"=").decode()


@contextlib.contextmanager
def serving(issuer: LocalIssuer, folder: Path, limits: str = _LIMITS) -> Iterator[Path]:
    """Shows the issuer's keys while entered; yields a file for ``DIVISIONS_OIDC_FILE``, written into ``folder``.

    Args:
        limits: of each that predicts, as the file writes them.
    """
    document = issuer.jwks()

    class Keys(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-length", str(len(document)))
            self.end_headers()
            self.wfile.write(document)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: progress goes to the terminal."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Keys)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        path = folder / "oidc.yaml"
        url = f"http://127.0.0.1:{server.server_port}/keys"
        path.write_text(_FILE.format(name=NAME, audience=AUDIENCE, url=url, limits=limits))
        yield path
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
