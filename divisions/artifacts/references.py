"""The reference histograms of bundles, for a process that serves none: the controller, and gateways that ask it.

Its node may have no replica of a version, and so no bundle of it. Then a thread fetches the one file from the store.
With trusted keys, a thread looks for the signature first, which may be in the store, too. Until it is there, drift is
unknown; nobody waits for it, and a store that is away stops nothing.
"""

from __future__ import annotations

import logging
import threading

from divisions.artifacts.cache import Bundles
from divisions.artifacts.local import local_bundle
from divisions.bundle import read_reference
from divisions.clock import Clock, SystemClock
from divisions.errors import DivisionsError
from divisions.settings import Settings

log = logging.getLogger(__name__)

RETRY_S = 30.0
_MAX_KEPT = 64


class References:
    """Finds reference histograms by the address and the SHA-256 of their bundle. For one thread."""

    def __init__(self, settings: Settings, clock: Clock | None = None) -> None:
        self._settings = settings
        self._clock = clock or SystemClock()
        self._known: dict[str, bytes] = {}
        self._asked_s: dict[str, float] = {}

    def get(self, recorded: str, sha256: str) -> bytes:
        """The bundle's ``reference.json``; empty when it has none, or while it is not here. Ask again then."""
        known = self._known.get(sha256)
        if known is not None:
            return known
        must_be_signed = bool(self._settings.trusted_keys)
        if not must_be_signed and (data := self._local(recorded, sha256)):
            return self._keep(sha256, data)
        now_s = self._clock.monotonic_s()
        if (self._settings.artifacts or must_be_signed) and now_s - self._asked_s.get(sha256, -RETRY_S) >= RETRY_S:
            self._asked_s[sha256] = now_s
            threading.Thread(target=self._fetch, args=(recorded, sha256), name="reference", daemon=True).start()
        return b""

    def _fetch(self, recorded: str, sha256: str) -> None:
        try:
            bundles = Bundles.of(self._settings)
            bundles.require_signed(recorded, sha256)
            data = self._local(recorded, sha256) or bundles.fetch_reference(recorded, sha256)
            if data or bundles.store is not None:
                self._keep(sha256, data)
        except DivisionsError as error:
            log.warning("no drift of inputs yet, tried again in %g s: %s", RETRY_S, error)
        except Exception:  # The edge of a thread: the next attempt may work.
            log.exception("the reference of %s could not be fetched", recorded)

    def _local(self, recorded: str, sha256: str) -> bytes:
        return read_reference(local_bundle(self._settings.home, recorded), sha256)

    def _keep(self, sha256: str, data: bytes) -> bytes:
        while len(self._known) >= _MAX_KEPT:
            self._known.pop(next(iter(self._known)), None)
        self._known[sha256] = data
        return data
