"""Which served versions have lost their bundle, for example because the home was moved."""

from __future__ import annotations

from collections.abc import Iterable

from divisions.control import RolloutStatus
from divisions.errors import BundleError, RegistryError
from divisions.moved_home import require_bundle
from divisions.registry import Registry
from divisions.settings import Settings


def missing_bundles(settings: Settings, rollouts: Iterable[RolloutStatus]) -> dict[str, BundleError]:
    """The endpoints whose stable version has no bundle at its registered path; each with the reason and remedy.

    Without its bundle, a version gets no replica. Versions that were never registered are not checked. Neither are
    those of a tracking server: reading it is slow.
    """
    if settings.tracking_uri:
        return {}
    registry = Registry(settings.home)
    missing = {}
    for rollout in rollouts:
        if rollout.stable_version is None:
            continue
        try:
            version = registry.get_version(rollout.model, rollout.stable_version)
            require_bundle(f"{version.model} {version.version}", version.bundle_path, settings.home)
        except RegistryError:
            continue
        except BundleError as error:
            missing[rollout.endpoint] = error
    return missing
