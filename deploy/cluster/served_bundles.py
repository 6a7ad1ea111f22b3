"""Which served versions have lost their bundle."""

from __future__ import annotations

from collections.abc import Iterable

from divisions.artifacts.local import local_bundle
from divisions.bundle import MANIFEST
from divisions.errors import BundleError, RegistryError
from divisions.registry import Registry
from divisions.settings import Settings
from divisions.status import RolloutStatus


def missing_bundles(settings: Settings, rollouts: Iterable[RolloutStatus]) -> dict[str, BundleError]:
    """The endpoints whose stable version has no bundle in this home; each with the reason and remedy.

    Without its bundle, a version gets no replica. Versions that were never registered are not checked. Neither are
    those of a tracking server, because reading it is slow, nor those that an artifact store may have.
    """
    if settings.tracking_uri or settings.artifacts:
        return {}
    registry = Registry(settings.home)
    missing = {}
    for rollout in rollouts:
        if rollout.stable_version is None:
            continue
        try:
            version = registry.get_version(rollout.model, rollout.stable_version)
        except RegistryError:
            continue
        folder = local_bundle(settings.home, version.bundle_path)
        if not (folder / MANIFEST).exists():
            missing[rollout.endpoint] = BundleError(
                f"the bundle of {version.model} {version.version} is not at {folder}",
                remedy="restore the folder from the registry's artifacts, or train and roll out a new version",
            )
    return missing
