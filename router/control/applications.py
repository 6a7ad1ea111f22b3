"""Starts the applications that are missing, and stops those that are no longer wanted.

The journal alone says what should run (`router.rollouts.records.wanted_versions`). So after any crash it is enough to
compare that with what runs. `router.control.ray_applications` runs them on Ray Serve.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import msgspec

from divisions.control import Placement, VersionSpec
from divisions.errors import DivisionsError

log = logging.getLogger(__name__)

RUNNING = "RUNNING"
FAILED = "DEPLOY_FAILED"
STOPPING = "DELETING"
FOREIGN = "FOREIGN"
"""Of an application that somebody else has started on this cluster."""


@dataclass(frozen=True, slots=True)
class ApplicationState:
    """Ray Serve's view of an application: RUNNING, DEPLOYING, DEPLOY_FAILED, UNHEALTHY, DELETING, …"""

    status: str
    message: str = ""


class Applications(Protocol):
    """Runs version applications. Calls may block, so they are made in a thread."""

    def start(self, version: VersionSpec) -> None:
        """Starts a version's replicas without waiting for them.

        Raises:
            DivisionsError: it can never start; the error names the remedy.
        """
        ...

    def stop(self, app_name: str) -> None:
        """Begins to stop a version's replicas."""
        ...

    def resize(self, version: VersionSpec) -> None:
        """Sets the number of a version's replicas; the others go on as they are. Doing it twice changes nothing."""
        ...

    def running(self) -> Mapping[str, ApplicationState]:
        """Every application by name, also those that are not ours."""
        ...


class Reconciler:
    """Each `reconcile` compares once, then starts and stops.

    Args:
        applications: runs them.
        known: applications that an earlier controller may have started; only known ones are ever stopped.
    """

    def __init__(self, applications: Applications, known: set[str]) -> None:
        self._applications = applications
        self._known = set(known)
        self._started: dict[str, VersionSpec] = {}
        self._sizes: dict[str, int] = {}
        """The number that Ray Serve was told last; none of an application that an earlier controller started."""
        self.failures: dict[str, str] = {}
        """Why an application that is wanted cannot run, by name."""
        self.reasons: dict[str, str] = {}
        """Why an application lacks replicas, by name: what Ray Serve says of one that does not run, in one line."""

    async def reconcile(self, wanted: Mapping[str, VersionSpec]) -> list[str]:
        """Starts and stops; returns the applications whose stop has begun."""
        wanted = {name: version for name, version in wanted.items() if version.placement is Placement.REPLICAS}
        states = await asyncio.to_thread(self._applications.running)
        stopped = []
        running = {name for name, state in states.items() if state.status == RUNNING}
        self.failures = {name: why for name, why in self.failures.items() if name in set(wanted) - running}
        for name, version in wanted.items():
            if name not in states:
                await self._start(version)
            elif states[name].status == FOREIGN:
                self.failures[name] = f"deploy: somebody else runs an application {name} on this Ray cluster"
            elif states[name].status != STOPPING and self._must_stop_first(version, states[name]):
                await asyncio.to_thread(self._applications.stop, name)
            elif states[name].status == FAILED:
                self.failures[name] = f"deploy: {states[name].message or 'its replicas failed to start'}"
            elif states[name].status != STOPPING and self._sizes.get(name) != version.replicas:
                await self._resize(version)
        told = {name: self.failures.get(name) or states[name].message for name in set(states) & set(wanted) - running}
        told |= self.failures
        self.reasons = {name: reason.removeprefix("deploy: ") for name, reason in told.items() if reason}
        for name in sorted((self._known | set(self._started)) - set(wanted)):
            self._started.pop(name, None)
            self._sizes.pop(name, None)
            if name in states and states[name].status not in {STOPPING, FOREIGN}:
                await asyncio.to_thread(self._applications.stop, name)
                stopped.append(name)
        return stopped

    def _must_stop_first(self, version: VersionSpec, state: ApplicationState) -> bool:
        """Whether another version runs under the name, or the remains of an attempt that failed."""
        started = self._started.get(version.app_name)
        if started is not None:
            return msgspec.structs.replace(started, replicas=version.replicas) != version
        if state.status == FAILED:
            return True
        self._started[version.app_name] = version  # An earlier controller started it.
        return False

    async def _start(self, version: VersionSpec) -> None:
        self._known.add(version.app_name)
        try:
            await asyncio.to_thread(self._applications.start, version)
        except DivisionsError as error:
            self.failures[version.app_name] = f"deploy: {error}"
        except Exception as error:  # noqa: BLE001  # Serve may be restarting; the deploy deadline limits the tries
            log.warning("application %s could not be started, trying again: %s", version.app_name, error)
        else:
            self._started[version.app_name] = version
            self._sizes[version.app_name] = version.replicas

    async def _resize(self, version: VersionSpec) -> None:
        try:
            await asyncio.to_thread(self._applications.resize, version)
        except Exception as error:  # noqa: BLE001  # Serve may be restarting, or the application still be created
            log.warning("application %s could not be resized, trying again: %s", version.app_name, error)
        else:
            self._sizes[version.app_name] = version.replicas
