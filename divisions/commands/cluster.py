"""``divisions up`` and ``divisions down``."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from divisions.commands.default_pipeline import PIPELINE, require_pipeline
from divisions.commands.output import Format, Output, print_json
from divisions.commands.streams import complain
from divisions.settings import load_settings

if TYPE_CHECKING:
    from deploy.supervision.cluster_file import Cluster
    from divisions.settings import Settings

EXIT_NOT_SERVED = 1
"""The cluster is up, but an endpoint of its journal does not answer."""

Port = Annotated[int | None, typer.Option(min=1, max=65_535, show_default="8000", help="Port of the gateways.")]
DashboardPort = Annotated[
    int | None, typer.Option(min=1, max=65_535, show_default="8265", help="Port of Ray's dashboard and job server.")
]
GcsPort = Annotated[int | None, typer.Option(min=1, max=65_535, show_default="6479", help="Port of Ray's head.")]
Gateways = Annotated[
    int | None, typer.Option(min=1, max=64, show_default="1", help="Gateway processes, sharing the port.")
]


def up(
    foreground: Annotated[bool, typer.Option("--foreground", help="Stay; Ctrl-C stops the cluster.")] = False,
    bootstrap: Annotated[
        bool, typer.Option("--bootstrap", help="Train on demo data and serve, if nothing is served yet.")
    ] = False,
    port: Port = None,
    gateways: Gateways = None,
    dashboard_port: DashboardPort = None,
    gcs_port: GcsPort = None,
    allow_faults: Annotated[
        bool, typer.Option("--allow-faults", help="Let rollouts inject faults. Never in production.")
    ] = False,
    pipeline: Annotated[Path, typer.Option(help="The pipeline file of --bootstrap.")] = PIPELINE,
    output: Output = Format.TEXT,
) -> int:
    """Start the embedded cluster: Ray, controller and gateways."""
    import dataclasses

    from deploy.cluster import embedded
    from divisions.clock import SystemClock
    from divisions.commands.progress import shown_progress

    settings = load_settings()
    settings = dataclasses.replace(
        settings,
        port=port or settings.port,
        gateways=gateways or settings.gateways,
        dashboard_port=dashboard_port or settings.dashboard_port,
        gcs_port=gcs_port or settings.gcs_port,
        allow_faults=allow_faults or settings.allow_faults,
    )
    is_json = output is Format.JSON

    def announce(cluster: Cluster, failures: Mapping[str, str]) -> None:
        if is_json:
            print_json(cluster)
        else:
            print(_greeting(settings, cluster, foreground), flush=True)
        for endpoint, reason in failures.items():
            complain(f"{endpoint} is not served: {reason}")

    request = embedded.UpRequest(
        settings, is_foreground=foreground, bootstrap=require_pipeline(pipeline) if bootstrap else None
    )
    with shown_progress(sys.stderr if is_json else sys.stdout) as progress:
        failures = embedded.run(request, progress, SystemClock(), announce)
    return EXIT_NOT_SERVED if failures and not foreground else 0


def _greeting(settings: Settings, cluster: Cluster, is_foreground: bool) -> str:
    from deploy.cluster.examples import example_calls

    lines = [
        "",
        f"Gateway    {cluster.gateway_url}",
        f"Page       {cluster.gateway_url}/  (asks for the token in {settings.home / 'token'})",
        f"Dashboard  {cluster.dashboard_url}  (asks for the token in {settings.home / 'ray_token'})",
        *example_calls(settings.home, cluster.gateway_url),
        "",
        "Ctrl-C stops everything." if is_foreground else "Stop it with: divisions down",
    ]
    return "\n".join(lines)


def down(output: Output = Format.TEXT) -> None:
    """Stop the embedded cluster of this home.

    The next `up` serves the same versions again.
    """
    from deploy.cluster import shutdown
    from divisions.clock import SystemClock
    from divisions.commands.progress import shown_progress

    settings = load_settings()
    with shown_progress(sys.stderr if output is Format.JSON else sys.stdout) as progress:
        cluster = shutdown.stop(settings.home, progress, SystemClock())
    if output is Format.JSON:
        print_json({"stopped": cluster.pid, "home": str(settings.home)})
