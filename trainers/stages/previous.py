"""The version that a new one is compared with."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from divisions.artifacts.cache import Bundles
from divisions.artifacts.local import local_bundle
from divisions.errors import BundleError
from divisions.pipeline.definition import Pipeline
from divisions.schema import FeatureSchema
from divisions.versions import RegisteredVersion
from trainers.data.known_kinds import NOTHING_KNOWN, KnownKinds
from trainers.stages.parts import Parts


@dataclass(frozen=True, slots=True)
class Previous:
    """The version that a new one is compared with. ``schema`` is None if its bundle is unreadable."""

    version: RegisteredVersion | None = None
    schema: FeatureSchema | None = None

    @property
    def known_kinds(self) -> KnownKinds:
        if self.version is None or self.schema is None:
            return NOTHING_KNOWN
        return KnownKinds.of(self.version.version, self.schema)


def previous_of(parts: Parts, pipeline: Pipeline) -> Previous:
    """The version that the next one is compared with, if there is one."""
    version = parts.registry.reference_version(pipeline.model_name)
    if version is None:
        return Previous()
    folder = local_bundle(parts.settings.home, version.bundle_path)
    version = msgspec.structs.replace(version, bundle_path=folder)
    try:
        _, manifest = Bundles.of(parts.settings).open(folder, version.bundle_sha256)
        return Previous(version, manifest.schema)
    except BundleError as error:
        parts.progress.notice(f"the kinds of columns in version {version.version} are unknown: {error}")
        return Previous(version)
