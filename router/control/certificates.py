"""The controller's desk for certificates of the data channel. Requests and answers are msgpack."""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec

from divisions.certificates.names import CertificateRequest
from divisions.clock import Clock
from divisions.errors import ChannelError

log = logging.getLogger(__name__)


class CertificateDesk:
    """Signs for gateways and replicas. Whoever may call the controller may ask: Ray's token is the proof.

    Args:
        authority: the file with its key and certificate. A cluster without a channel between nodes has none.
        clock: the time that certificates begin at.
    """

    def __init__(self, authority: Path, clock: Clock) -> None:
        self._authority = authority
        self._clock = clock

    def issue(self, message: bytes) -> bytes:
        """Answers a `CertificateRequest` with a `Certificate`.

        Raises:
            ChannelError: the request is malformed, or the cluster has no authority.
        """
        try:
            pem = self._authority.read_bytes()
        except OSError:
            raise ChannelError(
                "this cluster has no certificate authority: all of it listens on the loopback interface",
                remedy="set DIVISIONS_CHANNEL_HOST for `divisions up`",
            ) from None
        try:
            request = msgspec.msgpack.decode(message, type=CertificateRequest)
        except msgspec.MsgspecError as error:
            raise ChannelError(f"the request for a certificate is malformed: {error}") from None
        from divisions.certificates.authority import read_authority  # a cluster on one machine never needs it

        answer = read_authority(pem, self._authority).issue(request, self._clock.wall_s())
        log.info("issued a certificate for %s %s", request.role, request.identity)
        return msgspec.msgpack.encode(answer)
