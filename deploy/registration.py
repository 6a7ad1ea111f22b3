"""Registers an existing bundle again, as a new version."""

from __future__ import annotations

from divisions.artifacts.cache import Bundles
from divisions.artifacts.claims import using_bundles
from divisions.errors import GateRefusedError
from divisions.registry import Registry
from divisions.settings import Settings
from divisions.versions import REGISTERED_FROM, TRAINED_BY, RegisteredVersion, ValidationStatus


def register_again(settings: Settings, registry: Registry, model: str, source: str) -> RegisteredVersion:
    """Registers the bundle of version ``source`` as the next version: same bytes, metrics and verdict.

    Raises:
        RegistryError: there is no such version.
        GateRefusedError: it did not pass its gates; a new number must not hide that.
        BundleError: its bundle is damaged.
    """
    version = registry.get_version(model, source)
    if version.validation_status is not ValidationStatus.PASSED:
        raise GateRefusedError(
            f"{model} {version.version} is {version.validation_status}", remedy="name a version that passed its gates"
        )
    with using_bundles(settings.home):
        return _register(settings, registry, version)


def _register(settings: Settings, registry: Registry, version: RegisteredVersion) -> RegisteredVersion:
    model, bundles = version.model, Bundles.of(settings)
    folder, manifest = bundles.open(version.bundle_path, version.bundle_sha256)
    bundles.publish(folder, version.bundle_sha256)
    trained_by = manifest.run_id or version.trained_by
    facts = {**version.lineage, "registered_from": version.version, TRAINED_BY: trained_by}
    tags = {REGISTERED_FROM: version.version}
    with registry.start_run(manifest.pipeline, f"{model} from {version.version}", tags) as run:
        run.log_metrics(version.metrics)
        return registry.register(
            run,
            model=model,
            major=int(version.version.partition(".")[0]),
            bundle_path=folder,
            bundle_sha256=version.bundle_sha256,
            metrics=version.metrics,
            status=version.validation_status,
            lineage=facts,
        )
