"""Fetches a bundle from MLflow's artifacts, where every run leaves a copy unless machines share a store.

So a machine that reaches only the tracking server can deploy. What comes is checked byte by byte, as from any store.
Beside the bundle's files are MLflow's own (`divisions.mlflow_format`); only what the manifest names is fetched.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from divisions.artifacts.cache import Bundles
from divisions.artifacts.local import address_of, bundles_folder
from divisions.bundle import MANIFEST, decode_manifest, read_bundle
from divisions.errors import BundleError
from divisions.registry import ARTIFACT_FOLDER, Registry
from divisions.versions import RegisteredVersion

_MAX_FILES = 100


def fetch_from_registry(bundles: Bundles, registry: Registry, version: RegisteredVersion) -> None:
    """Puts a version's bundle into the home.

    Raises:
        RegistryError: the registry does not answer, or refuses.
        BundleError: it has no such bundle, another one, or one that is too large; or the home cannot be written.
    """
    what = f"the artifacts of run {version.run_id}"
    sizes = registry.artifact_sizes(version.run_id, ARTIFACT_FOLDER)
    if MANIFEST not in sizes:
        raise BundleError(f"{what} have no bundle", remedy="train again")
    if len(sizes) > _MAX_FILES or sum(sizes.values()) > bundles.limit_bytes:
        raise BundleError(
            f"{what} have {sum(sizes.values()):,} bytes in {len(sizes)} files, more than a bundle may have",
            remedy="raise DIVISIONS_ARTIFACT_CACHE_MB",
        )
    folder = bundles_folder(bundles.home) / address_of(version.bundle_path)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder.parent) as workspace:
            draft = Path(workspace) / ARTIFACT_FOLDER
            registry.download_artifact(version.run_id, f"{ARTIFACT_FOLDER}/{MANIFEST}", Path(workspace))
            for name in sorted(decode_manifest((draft / MANIFEST).read_bytes(), what).files.keys() & sizes.keys()):
                registry.download_artifact(version.run_id, f"{ARTIFACT_FOLDER}/{name}", Path(workspace))
            for path in draft.iterdir():
                path.chmod(0o400)
            read_bundle(draft, version.bundle_sha256)
            if folder.exists():
                folder.rename(Path(workspace) / "damaged")
            draft.rename(folder)
    except OSError as error:
        raise BundleError(
            f"{folder.parent} cannot be written: {error.strerror}", remedy="check the disk's space and permissions"
        ) from None
