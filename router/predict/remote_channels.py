"""What all channels to other nodes share: this gateway's certificate, and the note of replicas that went away."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

from divisions.certificates.contexts import client_context
from divisions.certificates.names import Credentials, Role, host_name


class RemoteChannels:
    """See the module. `router.gateway.remote_link` keeps the certificate fresh and carries the note to the controller.

    Args:
        is_encrypted: whether channels to other nodes speak TLS. Never decided by what a replica says of itself.
    """

    def __init__(self, is_encrypted: bool = False) -> None:
        self.needs_certificate = asyncio.Event()
        """Set once a channel is opened that needs one."""
        self.lost: set[str] = set()
        """Replicas of other nodes whose channel broke, until they are reported."""
        self.has_lost = asyncio.Event()
        self._is_encrypted = is_encrypted
        self._context: ssl.SSLContext | None = None

    def install(self, credentials: Credentials) -> None:
        """Takes a new certificate. Channels that are open keep the one that they began with."""
        self._context = client_context(credentials)

    def options(self, replica_id: str) -> dict[str, Any]:
        """How to connect to a replica of another node: arguments of `loop.create_connection`.

        Raises:
            ConnectionError: there is no certificate yet.
        """
        if not self._is_encrypted:
            return {}
        if self._context is None:
            self.needs_certificate.set()
            raise ConnectionError("this gateway has no certificate yet")
        return {"ssl": self._context, "server_hostname": host_name(Role.REPLICA, replica_id)}

    def broke(self, replica_id: str) -> None:
        """The channel to a replica that answered has ended, and not by us."""
        self.lost.add(replica_id)
        self.has_lost.set()
