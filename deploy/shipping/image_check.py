"""Whether a trusted key has signed the image that a target runs, before anything is changed there."""

from __future__ import annotations

from divisions.artifacts.image_signing import verify_image
from divisions.attestation.keys import parse_trusted_keys
from divisions.errors import BundleError, SettingsError
from divisions.oci.login import find_credentials
from divisions.oci.reference import parse_reference
from divisions.oci.registry import RegistryClient
from divisions.settings import Settings


def require_signed_image(image: str, settings: Settings) -> str:
    """The trusted key that has signed an image.

    Args:
        image: ``registry/repository@sha256:…``.
        settings: with the trusted keys, and the way to the registry's login.

    Raises:
        SettingsError: no key is trusted here.
        BundleError: the image has no digest, or no trusted key has signed it; or its registry does not answer.
    """
    trusted = parse_trusted_keys(settings.trusted_keys)
    if not trusted:
        raise SettingsError(
            f"the target takes signed images only, and no key is trusted here to have signed {image}",
            remedy="set DIVISIONS_TRUSTED_KEYS (`divisions keys show` prints a machine's key)",
        )
    reference = parse_reference(f"oci://{image}")
    if not reference.digest:
        raise BundleError(
            f"image {image} has no digest, and so no signature", remedy="write it as registry/repository@sha256:…"
        )
    host = reference.repository.host
    with RegistryClient(reference.repository, lambda: find_credentials(host, settings.docker_config)) as client:
        return str(verify_image(client, reference.digest, trusted))
