"""Tells the model registry which versions are in production, after the journal says so, never the other way round."""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

from divisions.control import VersionSpec

log = logging.getLogger(__name__)

FIRST_RETRY_S = 1.0
LAST_RETRY_S = 60.0


class RegistryProjection(Protocol):
    """Makes a version the production one in the registry. May block, and may fail; it is tried again."""

    def set_production(self, version: VersionSpec) -> None: ...


class FakeProjection:
    """In memory; fails as often as it is told to."""

    def __init__(self, failures: int = 0) -> None:
        self.production: dict[str, str] = {}
        self.failures = failures

    def set_production(self, version: VersionSpec) -> None:
        if self.failures:
            self.failures -= 1
            raise ConnectionError("the registry does not answer")
        self.production[version.model] = version.version


class Projector:
    """Brings the registry up to date, in the background. No decision ever waits for it."""

    def __init__(self, projection: RegistryProjection) -> None:
        self._projection = projection
        self._done: dict[str, VersionSpec] = {}
        self._retry_at_s = 0.0
        self._retry_s = FIRST_RETRY_S

    async def project(self, production: dict[str, VersionSpec], now_s: float) -> bool:
        """Tells what is new; returns whether the registry is up to date.

        Args:
            production: the version that serves, by model.
            now_s: monotonic time; after a failure nothing is tried for a while, up to `LAST_RETRY_S`.
        """
        news = {model: version for model, version in production.items() if self._done.get(model) != version}
        if not news or now_s < self._retry_at_s:
            return not news
        for model, version in news.items():
            try:
                await asyncio.to_thread(self._projection.set_production, version)
            except Exception as error:  # noqa: BLE001  # whatever the client raises, it is not urgent
                log.warning("the registry could not be told that %s serves: %s", version.app_name, error)
                self._retry_at_s = now_s + self._retry_s
                self._retry_s = min(2 * self._retry_s, LAST_RETRY_S)
                return False
            self._done[model] = version
        self._retry_s = FIRST_RETRY_S
        return True
