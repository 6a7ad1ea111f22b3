"""Tells the model registry which versions are in production. The journal decides; the registry only follows."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Protocol

from divisions.control import VersionSpec
from divisions.settings import Settings

log = logging.getLogger(__name__)

FIRST_RETRY_S = 1.0
LAST_RETRY_S = 60.0


class RegistryProjection(Protocol):
    """Makes a version the production one in the registry. It may block and may fail; then it is tried again."""

    def set_production(self, version: VersionSpec) -> None: ...


class Projector:
    """Brings the registry up to date in the background. No decision waits for it."""

    def __init__(self, projection: RegistryProjection) -> None:
        self._projection = projection
        self._done: dict[str, VersionSpec] = {}
        self._retry_at_s = 0.0
        self._retry_s = FIRST_RETRY_S

    async def project(self, production: dict[str, VersionSpec], now_s: float) -> bool:
        """Tells the registry of changes; returns whether it is up to date.

        Args:
            production: the version that serves, by model.
            now_s: monotonic time. After a failure the next try waits, up to `LAST_RETRY_S`.
        """
        changes = {model: version for model, version in production.items() if self._done.get(model) != version}
        if not changes or now_s < self._retry_at_s:
            return not changes
        for model, version in changes.items():
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


class MlflowProjection:
    """Production aliases in MLflow. Imports it on first use, in the thread that waits for it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._registry: Any = None

    def set_production(self, version: VersionSpec) -> None:
        if not version.registry_version:
            return  # Deployed from a bundle that was never registered.
        if self._registry is None:
            from divisions.registry import Registry

            self._registry = Registry(self._settings.home, self._settings.tracking_uri)
        self._registry.set_production(version.model, version.registry_version)
