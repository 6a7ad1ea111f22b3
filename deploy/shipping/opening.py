"""From names on a command line to a release and a target that is connected."""

from __future__ import annotations

import contextlib
import getpass
import hashlib
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from deploy.shipping.artifact import ImageCheck, WithArtifact
from deploy.shipping.deployments import DeploymentJournal
from deploy.shipping.image_check import require_signed_image
from deploy.shipping.release import Release
from deploy.shipping.target import Opening, Target
from deploy.shipping.target_file import TargetSpec
from divisions.artifacts.cache import Bundles
from divisions.artifacts.from_registry import fetch_from_registry
from divisions.artifacts.local import address_of
from divisions.artifacts.signing import facts_of, statements_of
from divisions.attestation.keys import find_signing_key
from divisions.errors import GateRefusedError, RegistryError, UnknownVersionError
from divisions.pipeline.definition import Pipeline
from divisions.pipeline.file import load_pipeline
from divisions.registry import Registry
from divisions.settings import Settings
from divisions.versions import RegisteredVersion, ValidationStatus


def release_of(settings: Settings, path: Path, version: str) -> tuple[Release, Pipeline, RegisteredVersion]:
    """The release that a pipeline file and a version make.

    Args:
        version: a version, a registry number, an alias, or MLflow's ``runs:/…`` or ``models:/…``. ``staging``, the
            newest that passed, falls back to ``production``: it may be in production already.

    Raises:
        PipelineError: the file is malformed.
        RegistryError: there is no such version.
        GateRefusedError: it did not pass its gates.
    """
    pipeline = load_pipeline(path)
    registry = Registry(settings.home, settings.tracking_uri)
    try:
        found = registry.get_version(pipeline.model_name, version)
    except RegistryError:
        if version != "staging":
            raise
        found = registry.get_version(pipeline.model_name, "production")
    if found.validation_status is not ValidationStatus.PASSED:
        raise GateRefusedError(
            f"{found.model} {found.version} is {found.validation_status}", remedy="name a version that passed its gates"
        )
    release = Release(
        model=found.model,
        version=found.version,
        endpoint=pipeline.deployment.endpoint,
        bundle=address_of(found.bundle_path),
        bundle_sha256=found.bundle_sha256,
        pipeline=pipeline.name,
        pipeline_sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
    )
    return release, pipeline, found


@contextlib.contextmanager
def opened_target(spec: TargetSpec, opening: Opening) -> Iterator[Target]:
    """The target, connected; its plans begin with the artifact, unless it goes back."""
    settings = replace(opening.settings, artifacts=spec.artifacts or opening.settings.artifacts)
    with spec.settings.open(replace(opening, settings=settings)) as target:
        if opening.goes_back:  # What was there before needs no artifact: the way back depends on no store.
            yield target
            return
        bundles = Bundles.of(settings)
        registry, key = Registry(settings.home, settings.tracking_uri), find_signing_key(settings.home)
        yield WithArtifact(
            target,
            bundles,
            key,
            lambda manifest: statements_of(facts_of(registry, opening.version, manifest)),
            lambda: fetch_from_registry(bundles, registry, opening.version),
            _image_check(spec, settings),
        )


def _image_check(spec: TargetSpec, settings: Settings) -> ImageCheck | None:
    if not spec.verify_image:
        return None
    image = spec.settings.image
    return ImageCheck(image, lambda: require_signed_image(image, settings))


def version_before(spec: TargetSpec, opening: Opening, journal: DeploymentJournal, endpoint: str) -> str:
    """The version to go back to: what the target says, else what was deployed from here before.

    Raises:
        UnknownVersionError: neither knows one.
    """
    with spec.settings.open(opening) as target:
        target.authenticate()
        found = target.served(endpoint)
    before = found.before or journal.version_before(opening.name, endpoint, found.now)
    if not before:
        raise UnknownVersionError(
            f"no version is known that {opening.name} has served as {endpoint} before", remedy="name one with --version"
        )
    return before


def caller() -> str:
    """Who deploys, as the machine knows it."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container with a user that the system does not know
        user = "unknown"
    return f"{user}@{socket.gethostname()}"
