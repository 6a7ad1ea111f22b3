"""Tells the controller what the gateway sees of other nodes, and keeps the gateway's certificate fresh.

On one machine nothing here ever wakes up.
"""

from __future__ import annotations

import asyncio
import logging

from divisions.certificates.renewal import Renewal
from divisions.clock import Clock
from divisions.errors import DivisionsError
from router.predict.controller_link import ControllerLink
from router.predict.remote_channels import RemoteChannels

CHECK_S = 1.0
GATHER_S = 0.02
"""All channels to a node that dies break together, and are reported together."""

log = logging.getLogger(__name__)


class RemoteLink:
    """See the module.

    Args:
        channels: what the gateway's channels to other nodes share.
        link: to the controller.
        gateway_id: whom the certificate names.
        clock: of this node.
    """

    def __init__(self, channels: RemoteChannels, link: ControllerLink, gateway_id: str, clock: Clock) -> None:
        self._channels = channels
        self._link = link
        self._gateway_id = gateway_id
        self._clock = clock
        self._renewal = Renewal()

    async def report_lost(self) -> None:
        """Reports replicas whose channel broke, for ever."""
        channels = self._channels
        while True:
            await channels.has_lost.wait()
            await asyncio.sleep(GATHER_S)
            lost = tuple(sorted(channels.lost))
            channels.lost.clear()
            channels.has_lost.clear()
            try:
                await self._link.replicas_lost(lost)
            except DivisionsError as error:
                log.warning("the controller was not told that %d replicas are gone: %s", len(lost), error)
            except Exception:  # The edge of a loop.
                log.exception("lost replicas could not be reported")

    async def keep_certified(self) -> None:
        """Asks for a certificate once a channel needs one, and for the next one in time, for ever."""
        await self._channels.needs_certificate.wait()
        while True:
            if self._renewal.is_due(self._clock.wall_s(), self._clock.monotonic_s()):
                await self._renew()
            await asyncio.sleep(CHECK_S)

    async def _renew(self) -> None:
        self._renewal.tried(self._clock.monotonic_s())
        try:
            credentials = await self._link.credentials(self._gateway_id)
            self._channels.install(credentials)
            self._renewal.obtained(credentials.lifetime_s, self._clock.wall_s())
        except DivisionsError as error:
            log.warning("no new certificate for channels to other nodes: %s", error)
        except Exception:  # The edge of a loop: the next turn tries again.
            log.exception("a certificate could not be used")
