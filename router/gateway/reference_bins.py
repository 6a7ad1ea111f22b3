"""The bins of a version's training data, for the drift of a rollout's inputs.

They are in the version's bundle, which this node has if a replica runs here. Otherwise the controller is asked, which
fetches them from the artifact store. Until it has them, drift is unknown; serving never waits for it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from divisions.artifacts.local import local_bundle
from divisions.bundle import read_reference
from divisions.control import VersionSpec
from router.evidence.drift import NO_BINS, InputBins, parse_bins
from router.predict.controller_link import ControllerLink

ASK_S = 5.0
"""How often the controller is asked for one that it does not have yet."""
_MAX_KEPT = 64


class ReferenceBins:
    """Lives on the gateway's event loop.

    Args:
        home: of this node.
        link: the way to the controller.
        now_s: monotonic clock.
    """

    def __init__(self, home: Path, link: ControllerLink, now_s: Callable[[], float]) -> None:
        self._home = home
        self._link = link
        self._now_s = now_s
        self._known: dict[str, InputBins] = {}
        self._missing: dict[str, float] = {}
        self._wanted: set[str] = set()

    def read(self, version: VersionSpec) -> InputBins:
        """The bins, as far as they are here. The next `ask` asks for others."""
        sha256 = version.bundle_sha256
        known = self._known.get(sha256)
        if known is not None:
            return known
        if data := read_reference(local_bundle(self._home, version.bundle_path), sha256):
            return self._keep(sha256, parse_bins(data))
        self._wanted.add(sha256)
        self._missing.setdefault(sha256, self._now_s())
        return NO_BINS

    async def ask(self) -> None:
        """Asks the controller for what is missing, and was read since the last call. Call it once a second.

        Raises:
            NotRunningError: the controller is away.
        """
        now_s = self._now_s()
        wanted, self._wanted = self._wanted, set()
        for sha256, at_s in list(self._missing.items()):
            if sha256 not in wanted:
                del self._missing[sha256]
            elif now_s >= at_s:
                await self._ask_for(sha256, now_s)

    async def _ask_for(self, sha256: str, now_s: float) -> None:
        self._missing[sha256] = now_s + ASK_S
        data = await self._link.reference(sha256)
        if data:
            self._keep(sha256, parse_bins(data))

    def _keep(self, sha256: str, bins: InputBins) -> InputBins:
        while len(self._known) >= _MAX_KEPT:
            del self._known[next(iter(self._known))]
        self._missing.pop(sha256, None)
        self._known[sha256] = bins
        return bins
