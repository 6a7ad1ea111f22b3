"""``divisions images …``: signs images in a registry, and says who has signed one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from divisions.commands.output import Format, Output, print_facts, print_json

if TYPE_CHECKING:
    from divisions.oci.reference import Reference
    from divisions.oci.registry import RegistryClient
    from divisions.settings import Settings

app = typer.Typer(help="Sign images in a registry, and check them.", no_args_is_help=True, rich_markup_mode=None)

Name = Annotated[str, typer.Argument(metavar="REFERENCE", help="oci://host/path@sha256:…, or with a tag.")]


@app.command("sign")
def sign(reference: Name, output: Output = Format.TEXT) -> None:
    """Sign an image: the base that versions are put onto, or one that was made elsewhere."""
    from divisions.artifacts.image_signing import sign_image
    from divisions.attestation.keys import signing_key
    from divisions.settings import load_settings

    settings = load_settings()
    key, found = signing_key(settings.home), _parsed(reference)
    with _client(found, settings) as client:
        digest = _digest(client, found)
        is_new = sign_image(client, digest, key)
    _print(found, digest, str(key.public), output, is_new=is_new)


@app.command("verify")
def verify(reference: Name, output: Output = Format.TEXT) -> None:
    """Check who has signed an image, against the trusted keys, or one's own."""
    from divisions.artifacts.image_signing import verify_image
    from divisions.attestation.keys import parse_trusted_keys, signing_key
    from divisions.settings import load_settings

    settings, found = load_settings(), _parsed(reference)
    trusted = parse_trusted_keys(settings.trusted_keys) or (signing_key(settings.home).public,)
    with _client(found, settings) as client:
        digest = _digest(client, found)
        signer = verify_image(client, digest, trusted)
    _print(found, digest, str(signer), output)


def _parsed(text: str) -> Reference:
    from divisions.oci.reference import parse_reference

    return parse_reference(text)


def _client(reference: Reference, settings: Settings) -> RegistryClient:
    from divisions.oci.login import find_credentials
    from divisions.oci.registry import RegistryClient

    host = reference.repository.host
    return RegistryClient(reference.repository, lambda: find_credentials(host, settings.docker_config))


def _digest(client: RegistryClient, reference: Reference) -> str:
    """The digest that is signed; a tag is looked up once."""
    from divisions.errors import ArtifactStoreError
    from divisions.oci.reference import digest_of

    if reference.digest:
        return reference.digest
    content = client.pull_manifest(reference.tag or "latest")
    if content is None:
        raise ArtifactStoreError(f"there is no image {reference}", remedy="check its name, or push it first")
    return digest_of(content)


def _print(reference: Reference, digest: str, signer: str, output: Format, **more: bool) -> None:
    image = f"{reference.repository}@{digest}"
    if output is Format.JSON:
        print_json({"image": image, "signed_by": signer, **more})
    else:
        print_facts([("Image", image), ("Signed by", signer)])
