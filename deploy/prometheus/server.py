"""Debian's Prometheus beside a cluster: its files in the home, and the command that the supervisor runs."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from divisions.certificates.pinned import SERVED, with_served
from divisions.certificates.port_pair import examine, read_pair
from divisions.deployment import write_private
from divisions.errors import ClusterError, PipelineError
from divisions.pipeline.definition import Pipeline
from divisions.pipeline.file import load_pipeline
from divisions.schedule.folder import files_of
from divisions.settings import Settings

if TYPE_CHECKING:
    from deploy.prometheus.documents import ScrapeTls

FOLDER = "prometheus"
CONFIGURATION = "prometheus.yml"
EXECUTABLE = "prometheus"
HOST = "127.0.0.1"
"""It asks for no token, so no other machine may reach it."""
KEPT = "15d"


def folder(home: Path) -> Path:
    """Has its configuration, its rules and its data."""
    return home / FOLDER


def prepare(settings: Settings, pipelines: Path) -> None:
    """Writes configuration and rules, with the alerts of the pipelines in a folder that have an SLO.

    Raises:
        ClusterError: Prometheus is not installed.
        UsageError: two pipelines have an SLO for the same endpoint.
    """
    if shutil.which(EXECUTABLE) is None:
        raise ClusterError(
            "Prometheus is not installed",
            remedy="install it (on Debian: apt-get install prometheus), or leave --prometheus and"
            " DIVISIONS_PROMETHEUS_PORT out",
        )
    # The supervisor needs only the command, and the rules are made with numpy.
    from deploy.prometheus.documents import RULES, configuration, rule_file

    tls = scrape_tls(settings)
    if tls is not None:  # Prometheus may start before a gateway does, and refuses a file that is not there.
        path = settings.home / SERVED
        known = path.read_bytes() if path.is_file() else b""
        write_private(path, with_served(known, read_pair(settings.tls_cert, settings.tls_key).leaf))
    place = folder(settings.home)
    place.mkdir(mode=0o700, exist_ok=True)
    targets = settings.home.absolute() / "metrics" / "*.json"
    write_private(place / RULES, rule_file(_readable(pipelines)).encode())
    write_private(place / CONFIGURATION, configuration(str(targets), tls=tls).encode())


def scrape_tls(settings: Settings) -> ScrapeTls | None:
    """How Prometheus knows the gateways of this home: by the certificate that they note there.

    Raises:
        SettingsError: the pair of the settings cannot be used.
    """
    if not settings.tls_cert:
        return None
    from deploy.prometheus.documents import ScrapeTls

    found = examine(read_pair(settings.tls_cert, settings.tls_key))
    name = next(iter(found.names), "")
    return ScrapeTls(str(settings.home.absolute() / SERVED), name.replace("*", "gateway"))


def command(settings: Settings) -> list[str]:
    """What runs it."""
    place = folder(settings.home)
    return [
        EXECUTABLE,
        f"--config.file={place / CONFIGURATION}",
        f"--storage.tsdb.path={place / 'data'}",
        f"--storage.tsdb.retention.time={KEPT}",
        f"--web.listen-address={HOST}:{settings.prometheus_port}",
        "--log.level=warn",
    ]


def _readable(pipelines: Path) -> list[Pipeline]:
    """The scheduler and `divisions run` tell what is wrong with the others."""
    found = []
    for path in files_of(pipelines):
        try:
            found.append(load_pipeline(Path(path)))
        except PipelineError:
            continue
    return found
