"""A replica's certificate: asked for before the replica registers, and renewed by its heartbeats."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from divisions.certificates.names import Certificate, Credentials, Role
from divisions.certificates.renewal import Renewal
from divisions.clock import Clock

if TYPE_CHECKING:
    from divisions.certificates.request import KeyRequest


class Certification:
    """See the module. `serving.replica.ray_registration` carries requests to the controller.

    Args:
        replica_id: whom the certificate names.
        install: takes each new one.
        clock: of this node.
    """

    def __init__(self, replica_id: str, install: Callable[[Credentials], None], clock: Clock) -> None:
        self.has_any = False
        self._replica_id = replica_id
        self._install = install
        self._clock = clock
        self._renewal = Renewal()
        self._asked: KeyRequest | None = None

    @property
    def is_due(self) -> bool:
        return self._renewal.is_due(self._clock.wall_s(), self._clock.monotonic_s())

    def ask(self) -> bytes:
        """A request with a new key, for the controller."""
        from divisions.certificates.request import new_request  # a machine of its own needs no certificates

        self._renewal.tried(self._clock.monotonic_s())
        self._asked = new_request(Role.REPLICA, self._replica_id)
        return msgspec.msgpack.encode(self._asked.message)

    def take(self, answer: bytes) -> None:
        """Takes the answer to the last request."""
        assert self._asked is not None
        certificate = msgspec.msgpack.decode(answer, type=Certificate)
        self._install(self._asked.answered(certificate))
        self._asked = None
        self.has_any = True
        self._renewal.obtained(certificate.lifetime_s, self._clock.wall_s())
