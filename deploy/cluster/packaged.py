"""Serves the version that an image carries (`divisions.artifacts.release_folder`), which needs no registry.

the journal serves this version, or rolls it out       -> wait until the endpoint answers
the journal has nothing for the endpoint               -> serve this version at once
the journal serves another version (a kept home)       -> this one is a canary beside it, as after `divisions deploy`
the controller refuses it, and the other serves        -> say why, and go on with the other
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path

from deploy.cluster.bootstrap import wait_until_warm
from deploy.rollout_start import start_version
from deploy.supervision.cluster_file import Cluster
from divisions.artifacts.cache import Bundles
from divisions.artifacts.release_folder import (
    ReleaseFile,
    ReleaseStore,
    pipeline_of,
    read_release,
    remember_release,
    require_same,
    served_releases,
)
from divisions.clock import Clock
from divisions.errors import BundleError, RolloutError
from divisions.pipeline.definition import Pipeline
from divisions.pipeline.file import load_pipeline
from divisions.progress import Progress, step
from divisions.sdk.client import Client
from divisions.settings import Settings
from divisions.status import RolloutStatus
from divisions.versions import RegisteredVersion, ValidationStatus

_ENDED = frozenset({"PROMOTED", "ROLLED_BACK"})


def load_release(folder: Path) -> tuple[ReleaseFile, Pipeline]:
    """The version, and how it is to be served.

    Raises:
        BundleError: the folder holds no release.
        PipelineError: its pipeline file is malformed.
    """
    return read_release(folder), load_pipeline(pipeline_of(folder))


def serve_release(settings: Settings, cluster: Cluster, folder: Path, progress: Progress, clock: Clock) -> None:
    """Serves the release of a folder, and waits until its endpoint answers.

    Raises:
        DivisionsError: the bundle is damaged or another than that of this version before, the controller refuses it, or
            no replica gets warm.
    """
    release, pipeline = load_release(folder)
    require_same(served_releases(settings.home), release)
    with step(progress, clock, f"Check every byte of {release.address}") as current:
        own = Bundles.of(settings)
        carried = replace(own, store=ReleaseStore(folder, release))
        _, manifest = replace(carried, trusted=()).open(release.address, release.bundle_sha256)
        with contextlib.suppress(BundleError):  # This keeps the image's own statement in the home.
            carried.require_signed(release.address, release.bundle_sha256)
        own.require_signed(release.address, release.bundle_sha256)
        current.detail = f"{len(manifest.files)} files"
    remember_release(settings.home, release)
    endpoint = pipeline.deployment.endpoint
    with Client(cluster.gateway_url, home=settings.home, timeout_s=15.0) as client:
        found = next((each for each in client.status().rollouts if each.endpoint == endpoint), None)
        if not serves(found, release):
            try:
                _, notices = start_version(client, settings, pipeline, registered(release))
            except RolloutError as error:
                if found is None or found.stable_version is None:
                    raise
                notices = (f"{release.model} {release.version} is not rolled out: {error}",)
            for notice in notices:
                progress.notice(notice)
        with step(progress, clock, f"Warm {endpoint} up") as current:
            current.detail = wait_until_warm(client, cluster, pipeline)


def serves(rollout: RolloutStatus | None, release: ReleaseFile) -> bool:
    """Whether an endpoint has this version already, or a rollout of it is under way. Pure."""
    if rollout is None or rollout.model != release.model:
        return False
    is_canary = rollout.canary_version == release.version and rollout.phase not in _ENDED
    return rollout.stable_version == release.version or is_canary


def registered(release: ReleaseFile) -> RegisteredVersion:
    """The version as a registry would give it. Its number 0 tells that this home's registry does not know it."""
    return RegisteredVersion(
        model=release.model,
        version=release.version,
        registry_version=0,
        run_id=release.run_id,
        bundle_path=Path(release.address),
        bundle_sha256=release.bundle_sha256,
        validation_status=ValidationStatus.PASSED,
        metrics={},
    )
