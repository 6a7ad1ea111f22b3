"""Signs what a run has registered, if there is a key on this machine."""

from __future__ import annotations

from dataclasses import replace

from divisions.artifacts.cache import Bundles
from divisions.artifacts.signing import sign_version
from divisions.attestation.keys import find_signing_key
from divisions.clock import Clock
from divisions.errors import DivisionsError
from divisions.progress import Progress, step
from divisions.registry import Registry
from divisions.settings import Settings
from divisions.versions import RegisteredVersion, ValidationStatus


def sign_registered(
    settings: Settings, registry: Registry, version: RegisteredVersion, progress: Progress, clock: Clock
) -> None:
    """Signs the bundle of a version that passed. A failure is told, and ends nothing: it can be signed later."""
    try:
        key = find_signing_key(settings.home)
        if key is None or version.validation_status is not ValidationStatus.PASSED:
            return
        with step(progress, clock, "Sign") as current:
            sign_version(replace(Bundles.of(settings), trusted=()), registry, version, key)
            current.detail = str(key.public)
    except DivisionsError as error:
        progress.notice(f"{version.model} {version.version} is not signed: {error}")
