"""Says why a registered bundle is not at its path: the home that holds it was moved, or the bundle is gone.

Registry and journal name a bundle by its absolute path, ``<home>/bundles/<model>/<first digits of its SHA-256>``.
"""

from __future__ import annotations

from pathlib import Path

from divisions.bundle import MANIFEST
from divisions.errors import BundleError


def require_bundle(version: str, bundle_path: Path, home: Path) -> None:
    """Checks that a version's bundle is at its registered path.

    Args:
        version: model and version, for the message.
        bundle_path: the registered path.
        home: the home in use.

    Raises:
        BundleError: the bundle is not there. The message says why, the remedy how to serve it again.
    """
    if (bundle_path / MANIFEST).exists():
        return
    old_home = bundle_path.parents[2] if len(bundle_path.parents) > 2 else bundle_path
    is_moved = old_home != home and (home / bundle_path.relative_to(old_home) / MANIFEST).exists()
    if is_moved:
        raise BundleError(
            f"the bundle of {version} is not at {bundle_path}: the home was moved from {old_home} to {home}",
            remedy=f"move it back, or link the old place to the new one: ln -s {home} {old_home}",
        )
    raise BundleError(
        f"the bundle of {version} is not at {bundle_path}",
        remedy="restore the folder from the registry's artifacts, or train and roll out a new version",
    )
