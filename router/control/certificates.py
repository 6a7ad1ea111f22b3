"""The controller's desk for certificates of the data channel. Requests and answers are msgpack."""

from __future__ import annotations

import logging

import msgspec

from divisions.certificates.names import CertificateRequest
from divisions.clock import Clock
from divisions.errors import ChannelError

log = logging.getLogger(__name__)


class CertificateDesk:
    """Signs for gateways and replicas. Whoever may call the controller may ask: Ray's token is the proof.

    Args:
        authority: key and certificate in PEM; empty for a cluster without a channel between nodes.
        clock: the time that certificates begin at.
    """

    def __init__(self, authority: bytes, clock: Clock) -> None:
        self._authority = authority
        self._clock = clock

    def issue(self, message: bytes) -> bytes:
        """Answers a `CertificateRequest` with a `Certificate`.

        Raises:
            ChannelError: the request is malformed, or the cluster has no authority.
        """
        if not self._authority:
            raise ChannelError(
                "this cluster has no certificate authority, because all of it listens on the loopback interface",
                remedy="set DIVISIONS_CHANNEL_HOST for `divisions up`",
            )
        try:
            request = msgspec.msgpack.decode(message, type=CertificateRequest)
        except msgspec.MsgspecError as error:
            raise ChannelError(f"the request for a certificate is malformed: {error}") from None
        from divisions.certificates.authority import read_authority  # a cluster on one machine never needs it

        answer = read_authority(self._authority, "the controller").issue(request, self._clock.wall_s())
        log.info("issued a certificate for %s %s", request.role, request.identity)
        return msgspec.msgpack.encode(answer)
