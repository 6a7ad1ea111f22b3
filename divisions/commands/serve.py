"""``divisions serve``: one bundle over HTTP, without Ray; what a container of SageMaker runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def serve(
    model: Annotated[Path, typer.Option(help="The folder of an unpacked bundle.")] = Path("/opt/ml/model"),
    port: Annotated[
        int, typer.Option(min=1, max=65_535, envvar="SAGEMAKER_BIND_TO_PORT", help="The port to listen on.")
    ] = 8080,
    endpoint: Annotated[str, typer.Option(help="The endpoint's name; the default is the bundle's label.")] = "",
    version: Annotated[str, typer.Option(help="What replies call the version.")] = "",
    sha256: Annotated[str, typer.Option(help="Refuse any other bundle than this.")] = "",
) -> None:
    """Serve one bundle over HTTP, without Ray: predictions, `/ping` and `/invocations`.

    Options that are not given are taken from DIVISIONS_SERVE_ENDPOINT, DIVISIONS_SERVE_VERSION and
    DIVISIONS_SERVE_SHA256.
    """
    import logging

    from deploy.container.serve import find_bundle
    from deploy.container.serve import serve as run
    from divisions.settings import load_settings

    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    settings = load_settings()
    served = find_bundle(
        model, sha256 or settings.serve_sha256, endpoint or settings.serve_endpoint, version or settings.serve_version
    )
    name = f"{served.manifest.model} {served.version}"
    print(f"serving {name} as {served.endpoint!r} on {settings.hosts[0]}:{port}", flush=True)
    run(settings, served, port, lambda engine: print(f"{name} is warm on {engine}", flush=True))
