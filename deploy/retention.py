"""Removes old versions from the registry, and their bundles with them (`divisions models prune`).

`divisions.retention` decides. A version is removed in an order in which a kill leaves nothing wrong: its bundle, if no
other version has the same one, then its run's copy, then the version. Whatever was left is done by the next call. The
versions in use are asked for again before each few, under a lock that rollouts and runs of this home take, too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

from deploy.shipping.deployments import DeploymentJournal
from divisions.artifacts.cache import Bundles
from divisions.artifacts.claims import removing_bundles
from divisions.artifacts.local import address_of
from divisions.clock import Clock
from divisions.errors import ArtifactStoreError, BundleError, RegistryError
from divisions.registry import Registry
from divisions.retention import Retention, RetentionPlan, plan
from divisions.sdk.client import Client
from divisions.settings import Settings
from divisions.versions import RegisteredVersion
from router.journal.known_versions import known_versions

AT_ONCE = 50
"""Versions under one lock: a rollout that is started meanwhile waits for them."""


@dataclass(frozen=True, slots=True)
class Pruned:
    """``notes`` say what could not be removed, and why."""

    removed: tuple[RegisteredVersion, ...]
    kept: dict[str, int]
    notes: tuple[str, ...] = ()


def versions_in_use(settings: Settings, clock: Clock) -> set[tuple[str, str]]:
    """What the journal of rollouts knows, what was deployed to targets, and what another home's gateway serves.

    Raises:
        ClusterError: one of them cannot be read.
    """
    found = known_versions(settings)
    if (settings.home / "deployments.db").exists():
        found |= DeploymentJournal(settings.home, clock).versions()
    if settings.gateway:
        with Client(settings.gateway, home=settings.home) as client:
            for rollout in client.rollouts():
                names = (rollout.stable_version, rollout.canary_version, rollout.previous_version)
                found |= {(rollout.model, name) for name in names if name}
    return found


def planned(settings: Settings, registry: Registry, retention: Retention, clock: Clock) -> RetentionPlan:
    """What would go now.

    Raises:
        RegistryError: the registry cannot be reached.
        ClusterError: nobody knows what is in use.
    """
    return plan(registry.list_versions(), versions_in_use(settings, clock), retention, clock.wall_s())


def prune(
    settings: Settings,
    registry: Registry,
    retention: Retention,
    clock: Clock,
    removed: Callable[[RegisteredVersion], None] = lambda version: None,
) -> Pruned:
    """Removes what may go. What cannot be removed stays, with a note; the others go on.

    Args:
        removed: told each version that is gone.

    Raises:
        RegistryError: the registry cannot be reached.
        ClusterError: nobody knows what is in use.
    """
    bundles = replace(Bundles.of(settings), trusted=())
    gone: list[RegisteredVersion] = []
    notes: dict[tuple[str, int], str] = {}
    while True:
        with removing_bundles(settings.home):
            versions = registry.list_versions()
            now = plan(versions, versions_in_use(settings, clock), retention, clock.wall_s())
            users = Counter(address_of(version.bundle_path) for version in versions)
            left = [one for one in now.removed if (one.model, one.registry_version) not in notes]
            for version in left[:AT_ONCE]:
                address = address_of(version.bundle_path)
                try:
                    if users[address] == 1:
                        bundles.remove(address)
                    registry.remove(version)
                except (ArtifactStoreError, BundleError, RegistryError) as error:
                    notes[version.model, version.registry_version] = f"{version.model} {version.version} stays: {error}"
                    continue
                users[address] -= 1
                gone.append(version)
                removed(version)
        if len(left) <= AT_ONCE:
            return Pruned(tuple(gone), dict(now.kept), tuple(notes.values()))
