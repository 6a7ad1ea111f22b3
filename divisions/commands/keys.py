"""``divisions keys …``: the key that signs bundles."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from divisions.commands.output import Format, Output, print_json

if TYPE_CHECKING:
    from divisions.attestation.keys import SigningKey

app = typer.Typer(help="The key that signs bundles.", no_args_is_help=True, rich_markup_mode=None)


@app.command("create")
def create(
    place: Annotated[
        Path | None, typer.Option("--to", help="The new file; by default signing_key.pem of the home.")
    ] = None,
    output: Output = Format.TEXT,
) -> None:
    """Make a key; print its public part, which machines that load bundles are to trust."""
    from divisions.attestation.keys import SIGNING_KEY, new_signing_key, write_signing_key
    from divisions.settings import load_settings

    path, key = place or load_settings().home / SIGNING_KEY, new_signing_key()
    write_signing_key(path, key)
    _print(key, str(path), output)


@app.command("show")
def show(
    pem: Annotated[bool, typer.Option("--pem", help="As other programs read it.")] = False,
    output: Output = Format.TEXT,
) -> None:
    """Print the public part of the key that this machine signs with."""
    from divisions.attestation.keys import signing_key
    from divisions.settings import load_settings

    key = signing_key(load_settings().home)
    if pem:
        print(key.public.pem.decode(), end="")
        return
    _print(key, "", output)


def _print(key: SigningKey, path: str, output: Format) -> None:
    if output is Format.JSON:
        print_json({"public_key": str(key.public), "key_id": key.public.id, **({"file": path} if path else {})})
        return
    print(key.public)
