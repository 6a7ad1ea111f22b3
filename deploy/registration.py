"""Registers an existing bundle again, as a new version."""

from __future__ import annotations

from divisions.bundle import read_bundle
from divisions.errors import GateRefusedError
from divisions.registry import Registry
from divisions.versions import RegisteredVersion, ValidationStatus


def register_again(registry: Registry, model: str, source: str) -> RegisteredVersion:
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
    manifest = read_bundle(version.bundle_path, version.bundle_sha256)
    facts = {**version.lineage, "registered_from": version.version}
    with registry.start_run(manifest.pipeline, f"{model} from {version.version}", {}) as run:
        run.log_metrics(version.metrics)
        return registry.register(
            run,
            model=model,
            major=int(version.version.partition(".")[0]),
            bundle_path=version.bundle_path,
            bundle_sha256=version.bundle_sha256,
            metrics=version.metrics,
            status=version.validation_status,
            lineage=facts,
        )
