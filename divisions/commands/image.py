"""``divisions models package --image``: a runnable image of one version, pushed to a registry."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import typer

from divisions.commands.default_pipeline import require_pipeline
from divisions.commands.output import Format, print_facts, print_json
from divisions.errors import GateRefusedError, UsageError

if TYPE_CHECKING:
    from divisions.registry import Registry
    from divisions.settings import Settings
    from divisions.versions import RegisteredVersion


def push(
    settings: Settings,
    registry: Registry,
    found: RegisteredVersion,
    *,
    image: str,
    target: str,
    pipeline: Path,
    platform: str,
    output: Format,
) -> None:
    """Makes the image and pushes it; prints its digest.

    Raises:
        UsageError: one of image and target is missing, or the pipeline trains another model.
        GateRefusedError: the version did not pass its gates.
        DivisionsError: see `divisions.artifacts.image_push.push_image`.
    """
    from divisions.artifacts.cache import Bundles
    from divisions.artifacts.image_push import ImageRequest, push_image
    from divisions.artifacts.local import address_of
    from divisions.artifacts.release_folder import ReleaseFile
    from divisions.artifacts.signing import facts_of, statements_of
    from divisions.attestation.keys import find_signing_key
    from divisions.oci.image import parse_platform
    from divisions.oci.login import find_credentials
    from divisions.oci.reference import parse_reference
    from divisions.pipeline.file import load_pipeline
    from divisions.versions import ValidationStatus

    if not image or not target:
        raise UsageError("--image and --push belong together", remedy="name the base image, and where the new one goes")
    base, place = parse_reference(image), parse_reference(target)
    definition = load_pipeline(require_pipeline(pipeline))
    if definition.model_name != found.model:
        raise UsageError(
            f"pipeline {definition.name} trains {definition.model_name}, not {found.model}",
            remedy="name the model's own pipeline file with --pipeline",
        )
    if found.validation_status is not ValidationStatus.PASSED:
        raise GateRefusedError(
            f"{found.model} {found.version} is {found.validation_status}", remedy="name a version that passed its gates"
        )
    bundles, key = Bundles.of(settings), find_signing_key(settings.home)
    bundle, manifest = bundles.open(found.bundle_path, found.bundle_sha256)
    statements = bundles.attestations.find(address_of(found.bundle_path), found.bundle_sha256, bundles.trusted)
    facts = facts_of(registry, found, manifest)
    if key is not None:
        statements |= statements_of(facts).sealed(key)
    request = ImageRequest(
        base=base,
        target=place,
        platform=parse_platform(platform),
        release=ReleaseFile(found.model, found.version, found.bundle_sha256, found.run_id),
        bundle=bundle,
        pipeline=pipeline.read_bytes(),
        endpoint=definition.deployment.endpoint,
        statements=statements,
        key=key,
        trusted=bundles.trusted,
        created_at=facts.created_at,
    )
    pushed = push_image(request, lambda host: find_credentials(host, settings.docker_config), _say)
    if output is Format.JSON:
        print_json({**msgspec.to_builtins(pushed), "bundle_sha256": found.bundle_sha256})
        return
    print_facts(
        [
            ("Image", pushed.image),
            ("Tag", pushed.tag),
            ("Base", pushed.base),
            ("Layer", f"{pushed.layer}, {pushed.num_bytes:,} bytes"),
            ("Bundle", found.bundle_sha256),
            ("Signed by", pushed.signed_by or "nobody: this machine has no key"),
        ]
    )


def _say(line: str) -> None:
    typer.echo(line, err=True)
    sys.stderr.flush()
