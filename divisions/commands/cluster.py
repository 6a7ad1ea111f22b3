"""``divisions up`` and ``divisions down``: a cluster of this machine, or a Ray cluster that is already there."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from divisions.commands.default_pipeline import PIPELINE, require_pipeline
from divisions.commands.output import Format, Output, print_json
from divisions.commands.streams import complain
from divisions.errors import UsageError
from divisions.settings import load_settings

if TYPE_CHECKING:
    from deploy.supervision.cluster_file import Cluster
    from divisions.settings import Settings

PROMETHEUS_PORT = 9090
EXIT_NOT_SERVED = 1
"""The cluster is up, but an endpoint of its journal does not answer."""

Port = Annotated[int | None, typer.Option(min=1, max=65_535, show_default="8000", help="Port of the gateways.")]
DashboardPort = Annotated[
    int | None, typer.Option(min=1, max=65_535, show_default="8265", help="Port of Ray's dashboard and job server.")
]
GcsPort = Annotated[int | None, typer.Option(min=1, max=65_535, show_default="6479", help="Port of Ray's head.")]
Address = Annotated[
    str,
    typer.Option(
        "--address",
        metavar="HOST:PORT",
        show_default="RAY_ADDRESS",
        help="Use the Ray cluster whose head is there, or `auto`, in place of an own one. Run it on one of its nodes.",
    ),
]
Host = Annotated[
    str, typer.Option("--host", metavar="ADDRESS", help="Address of this machine, for others that shall join.")
]
Gateways = Annotated[
    int | None, typer.Option(min=1, max=64, show_default="1", help="Gateway processes, sharing the port.")
]


def up(
    foreground: Annotated[bool, typer.Option("--foreground", help="Stay; Ctrl-C stops the cluster.")] = False,
    bootstrap: Annotated[
        bool, typer.Option("--bootstrap", help="Train on demo data and serve, if nothing is served yet.")
    ] = False,
    release: Annotated[
        Path | None,
        typer.Option(help="Serve the version in this folder, which `models package --image` made.", show_default=False),
    ] = None,
    address: Address = "",
    host: Host = "",
    port: Port = None,
    gateways: Gateways = None,
    dashboard_port: DashboardPort = None,
    gcs_port: GcsPort = None,
    prometheus: Annotated[
        bool, typer.Option("--prometheus", help="Start Prometheus beside it, if it is installed; on port 9090.")
    ] = False,
    allow_faults: Annotated[
        bool, typer.Option("--allow-faults", help="Let rollouts inject faults. Never in production.")
    ] = False,
    pipeline: Annotated[Path, typer.Option(help="The pipeline file of --bootstrap.")] = PIPELINE,
    output: Output = Format.TEXT,
) -> int:
    """Start a cluster on this machine (Ray, controller and gateways), or deploy onto a Ray cluster that is there."""
    import dataclasses

    from deploy.cluster import embedded
    from divisions.clock import SystemClock
    from divisions.commands.progress import shown_progress
    from divisions.notify.notifier import webhook_of
    from router.gateway.issuer_file import check_files, read_issuers

    settings = load_settings()
    settings = dataclasses.replace(
        settings,
        port=port or settings.port,
        gateways=gateways or settings.gateways,
        dashboard_port=dashboard_port or settings.dashboard_port,
        gcs_port=gcs_port or settings.gcs_port,
        allow_faults=allow_faults or settings.allow_faults,
    )
    # What follows is told here; gateways and the controller would only log it.
    check_files(read_issuers(settings.oidc_file))
    if settings.webhook_file:
        webhook_of(settings, SystemClock()).check()
    is_json = output is Format.JSON
    if address := address or settings.ray_address:
        given = {"--foreground": foreground, "--bootstrap": bootstrap, "--release": bool(release), "--host": bool(host)}
        refuse(given, "--address")
        return _attach(settings, address, is_json)
    if release is not None:
        refuse({"--bootstrap": bootstrap}, "--release")
    settings = reachable(settings, host)

    def announce(cluster: Cluster, failures: Mapping[str, str]) -> None:
        if is_json:
            print_json(cluster)
        else:
            print(_greeting(settings, cluster, foreground), flush=True)
        for endpoint, reason in failures.items():
            complain(f"{endpoint} is not served: {reason}")

    request = embedded.UpRequest(
        settings,
        is_foreground=foreground,
        bootstrap=require_pipeline(pipeline) if bootstrap else None,
        release=release,
    )
    with shown_progress(sys.stderr if is_json else sys.stdout) as progress:
        failures = embedded.run(request, progress, SystemClock(), announce)
    return EXIT_NOT_SERVED if failures and not foreground else 0


def join(
    head: Annotated[
        str, typer.Argument(metavar="HEAD:PORT", help="Ray's head: the --host of `up` and its --gcs-port.")
    ],
    foreground: Annotated[bool, typer.Option("--foreground", help="Stay; Ctrl-C ends the node.")] = False,
    host: Annotated[
        str, typer.Option("--host", metavar="ADDRESS", show_default="found", help="Address of this machine for others.")
    ] = "",
    gateways: Annotated[
        int | None, typer.Option(min=0, max=64, show_default="1", help="Gateway processes on this machine.")
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option(help="Ray's token: the file `ray_token` of the head's home.", show_default=False)
    ] = None,
    output: Output = Format.TEXT,
) -> None:
    """Make this machine a node of a cluster."""
    import dataclasses

    from deploy.cluster import membership
    from divisions.clock import SystemClock
    from divisions.commands.progress import shown_progress

    settings = load_settings()
    settings = dataclasses.replace(settings, gateways=settings.gateways if gateways is None else gateways)
    is_json = output is Format.JSON

    def announce(cluster: Cluster) -> None:
        if is_json:
            print_json(cluster)
        else:
            end = "Ctrl-C ends it." if foreground else "End it with: divisions down"
            print(f"\nThis machine, {cluster.node_host}, is a node of {cluster.ray_address}.\n{end}", flush=True)

    request = membership.JoinRequest(settings, head, host, token_file, is_foreground=foreground)
    with shown_progress(sys.stderr if is_json else sys.stdout) as progress:
        membership.run(request, progress, SystemClock(), announce)


def refuse(given: Mapping[str, bool], other: str) -> None:
    """Raises: UsageError: an option is given that has no meaning together with another one."""
    for option, is_there in given.items():
        if is_there:
            raise UsageError(f"{option} cannot be used with {other}", remedy=f"leave out {option}")


def reachable(settings: Settings, host: str) -> Settings:
    """The settings of a node that other machines reach at ``host``; its gateways listen there, too."""
    import dataclasses

    from divisions.settings import is_given

    node_host = host or settings.node_host
    is_own_choice = bool(node_host) and not is_given("host")
    return dataclasses.replace(settings, node_host=node_host, host="" if is_own_choice else settings.host)


def _attach(settings: Settings, address: str, is_json: bool) -> int:
    from deploy.cluster import attached
    from divisions.clock import SystemClock
    from divisions.commands.progress import shown_progress

    with shown_progress(sys.stderr if is_json else sys.stdout) as progress:
        cluster = attached.up(settings, address, progress, SystemClock())
    if is_json:
        print_json(cluster)
    else:
        print(_attached(settings, cluster), flush=True)
    return 0


def _attached(settings: Settings, cluster: Cluster) -> str:
    lines = ["", f"Cluster    {cluster.ray_address}"]
    if cluster.gateway_url:
        lines.append(f"Gateway    {cluster.gateway_url}")
        lines.append(f"Page       {cluster.gateway_url}/  (asks for the token in {settings.home / 'token'})")
    if cluster.dashboard_url:
        lines.append(f"Dashboard  {cluster.dashboard_url}")
    return "\n".join([*lines, "", "Remove it with: divisions down"])


def _greeting(settings: Settings, cluster: Cluster, is_foreground: bool) -> str:
    from deploy.cluster.examples import curl_of, example_calls
    from divisions.online_stores import open_store

    lines = [
        "",
        f"Gateway    {cluster.gateway_url}",
        f"Page       {cluster.gateway_url}/  (asks for the token in {settings.home / 'token'})",
        f"Dashboard  {cluster.dashboard_url}  (asks for the token in {settings.home / 'ray_token'})",
        *([f"Prometheus http://127.0.0.1:{settings.prometheus_port}/"] if settings.prometheus_port else []),
        *example_calls(open_store(settings), cluster.gateway_url, curl_of(settings, cluster.gateway_url)),
        *_next_steps(sys.executable, shutil.which("divisions")),
        "",
        "Ctrl-C stops everything." if is_foreground else "Stop it with: divisions down",
    ]
    return "\n".join(lines)


def _next_steps(python: str, command: str | None) -> list[str]:
    """How another terminal gets the command, which `make run` has installed in a virtual environment.

    >>> _next_steps("/home/ann/divisions/.venv/bin/python", None)[2]
    '  . /home/ann/divisions/.venv/bin/activate'
    >>> _next_steps("/usr/bin/python3", "/usr/bin/divisions")
    ['', 'Look at it:', '  divisions status']
    """
    activate = Path(python).with_name("activate")
    source = [f"  . {shlex.quote(str(activate))}"] if command is None else []
    where = ", in another terminal and this folder" if command is None else ""
    return ["", f"Look at it{where}:", *source, "  divisions status"]


def down(
    address: Annotated[
        str, typer.Option("--address", metavar="HOST:PORT", help="Remove what is ours from the Ray cluster there.")
    ] = "",
    output: Output = Format.TEXT,
) -> None:
    """Stop the cluster of this home, or remove it from the Ray cluster that it was deployed onto.

    The next `up` serves the same versions again.
    """
    from deploy.cluster import attached, shutdown
    from deploy.supervision.cluster_file import ATTACHED
    from divisions.clock import SystemClock
    from divisions.commands.progress import shown_progress

    settings = load_settings()
    is_json = output is Format.JSON
    with shown_progress(sys.stderr if is_json else sys.stdout) as progress:
        if address:
            removed = attached.down_at(settings, address, progress, SystemClock())
        elif (found := _readable(settings)) is not None and found.kind == ATTACHED:
            removed = attached.down(settings, found, progress, SystemClock())
        else:
            cluster = shutdown.stop(settings.home, progress, SystemClock())
            if is_json:
                print_json({"stopped": cluster.pid, "home": str(settings.home)})
            return
    if is_json:
        print_json(removed)
    elif removed["others"]:
        print(f"Applications of others go on: {removed['others']}")


def _readable(settings: Settings) -> Cluster | None:
    from deploy.supervision.cluster_file import read_cluster
    from divisions.errors import ClusterError

    try:
        return read_cluster(settings.home)
    except ClusterError:  # `shutdown.stop` tells of it
        return None
