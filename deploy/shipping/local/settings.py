"""What ``targets.yaml`` says of a target of kind ``local``, and the way from there to the cluster."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from deploy.shipping.target import Opening, Target
from divisions.errors import PipelineError
from divisions.pipeline.yaml_sections import Section, parsed


@dataclass(frozen=True, slots=True)
class LocalSettings:
    """An empty ``gateway`` is that of the home's cluster."""

    gateway: str = ""

    @property
    def image(self) -> str:
        return ""

    @contextlib.contextmanager
    def open(self, opening: Opening) -> Iterator[Target]:
        from deploy.rollout_start import start_version
        from deploy.shipping.control_address import address_of_target
        from deploy.shipping.local.target import LocalTarget
        from deploy.supervision import cluster_file
        from divisions.gateway_address import gateway_url
        from divisions.sdk.client import Client

        settings, pipeline, version = opening.settings, opening.pipeline, opening.version
        cluster = cluster_file.read_cluster(settings.home)
        url = self.gateway or (gateway_url(settings) if cluster is None else cluster.gateway_url)
        of_target = address_of_target(opening.name, "gateway") if self.gateway else contextlib.nullcontext()
        with of_target, Client(url, home=settings.home) as client:
            yield LocalTarget(
                opening.name,
                url,
                client,
                pipeline,
                lambda: start_version(client, settings, pipeline, version, force=opening.is_forced),
                is_forced=opening.is_forced,
                goes_back=opening.goes_back,
            )


def read_settings(section: Section) -> LocalSettings:
    return LocalSettings(section.take("gateway", parsed(_url), ""))


def _url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username is not None:
        raise PipelineError("it is no URL of a gateway", remedy="write http://host:port, without credentials")
    return value.rstrip("/")
