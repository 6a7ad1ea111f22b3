"""Stand-ins for what the controller talks to: applications, the registry, the event log. All in memory."""

from __future__ import annotations

from collections.abc import Mapping

from divisions.access.audit import AuditEvent
from divisions.control import VersionSpec
from divisions.errors import DivisionsError
from router.control.applications import ApplicationState
from router.rollouts.messages import RolloutEvent


class FakeApplications:
    """In memory: what was started runs at once, what was stopped is gone at once."""

    def __init__(self) -> None:
        self.states: dict[str, ApplicationState] = {}
        self.started: list[str] = []
        self.stopped: list[str] = []
        self.sizes: list[tuple[str, int]] = []
        self.is_busy = False
        self.refusals: dict[str, DivisionsError] = {}

    def start(self, version: VersionSpec) -> None:
        if version.app_name in self.refusals:
            raise self.refusals[version.app_name]
        self.started.append(version.app_name)
        self.states[version.app_name] = ApplicationState("RUNNING")

    def stop(self, app_name: str) -> None:
        self.stopped.append(app_name)
        self.states.pop(app_name, None)

    def resize(self, version: VersionSpec) -> None:
        if self.is_busy:
            raise ConnectionError("Serve is restarting")
        self.sizes.append((version.app_name, version.replicas))

    def running(self) -> Mapping[str, ApplicationState]:
        return dict(self.states)


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


class MemoryAudit:
    """Keeps lines of the audit log in a list."""

    def __init__(self) -> None:
        self.events: list[AuditEvent] = []

    def append(self, event: AuditEvent) -> None:
        self.events.append(event)


class MemoryEvents:
    """Keeps events in a list."""

    def __init__(self) -> None:
        self.events: list[RolloutEvent] = []

    def emit(self, event: RolloutEvent) -> None:
        self.events.append(event)
