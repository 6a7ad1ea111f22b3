"""Names in certificates: a role and an identity. Pure.

A gateway connects to one replica, by its id. So a replica's certificate is good for this replica alone, although many
replicas share an address. A replica takes any gateway of its cluster.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

AUTHORITY = "channel_ca.pem"
"""The authority's file in the home of each node: the controller may start on any of them, and signs with it."""


class Role(enum.StrEnum):
    GATEWAY = "gateway"
    REPLICA = "replica"


class CertificateRequest(msgspec.Struct, frozen=True):
    """``request`` is a PKCS #10 request in PEM. The authority takes nothing but the public key from it."""

    role: Role
    identity: str
    request: bytes


class Certificate(msgspec.Struct, frozen=True):
    """A certificate and the authority's own, both PEM. It is valid for ``lifetime_s`` from now."""

    certificate: bytes
    authority: bytes
    lifetime_s: float


class Credentials(msgspec.Struct, frozen=True):
    """What one end of a channel needs: its private key, its certificate, and the authority that it trusts; PEM each."""

    key: bytes
    certificate: bytes
    authority: bytes
    lifetime_s: float

    def __repr__(self) -> str:
        return f"Credentials(valid for {self.lifetime_s:.0f} s)"  # never the key: a log may print us


def host_name(role: Role, identity: str) -> str:
    """The name in the certificate. Identities have characters that no host name may have, hence the hash.

    >>> host_name(Role.GATEWAY, "a1b2")
    '85337816d263d362acb23a4255a636191075c2a9.gateway.divisions'
    """
    return f"{hashlib.sha256(identity.encode()).hexdigest()[:40]}.{role}.divisions"


def has_role(peer: Mapping[str, Any] | None, role: Role) -> bool:
    """Whether a verified certificate, as `ssl.SSLSocket.getpeercert` shows it, names this role.

    >>> has_role({"subjectAltName": (("DNS", host_name(Role.REPLICA, "r")),)}, Role.GATEWAY)
    False
    """
    names = (peer or {}).get("subjectAltName", ())
    return any(kind == "DNS" and name.endswith(f".{role}.divisions") for kind, name in names)
