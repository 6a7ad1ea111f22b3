"""What ``targets.yaml`` says of a target of kind ``kubernetes``, and the way from there to the cluster."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from deploy.kubernetes.reading import take_values
from deploy.kubernetes.values import Values
from deploy.shipping.target import Opening, Target
from divisions.errors import PipelineError
from divisions.pipeline.yaml_sections import Section, integer, parsed, text

if TYPE_CHECKING:
    from deploy.kubernetes.api import Api

READY_S = 900


@dataclass(frozen=True, slots=True)
class KubernetesSettings:
    """A cluster.

    Attributes:
        context: of the kubeconfig; empty for the current one.
        control_url: where a gateway of the cluster is reached; empty for a port that ``kubectl`` forwards.
        ready_s: how long pods may take to get ready.
    """

    values: Values = field(default_factory=Values)
    context: str = ""
    control_url: str = ""
    ready_s: int = READY_S

    @property
    def image(self) -> str:
        return self.values.image

    @contextlib.contextmanager
    def open(self, opening: Opening) -> Iterator[Target]:
        import time

        from deploy.kubernetes.manifests import render
        from deploy.kubernetes.schedule import scheduled
        from deploy.rollout_start import start_version
        from deploy.shipping.control_address import address_of_target
        from deploy.shipping.kubernetes.control import Control
        from deploy.shipping.kubernetes.target import KubernetesTarget

        settings, pipeline, version = opening.settings, opening.pipeline, opening.version
        values, notice = scheduled(replace(self.values, artifacts=settings.artifacts), pipeline.trigger)
        of_target = address_of_target(opening.name, "control_url") if self.control_url else contextlib.nullcontext()
        with of_target, self.api() as api, Control(self.control_url, self.context, values, settings.home) as control:
            yield KubernetesTarget(
                opening.name,
                api,
                values,
                render(values, opening.pipeline_text),
                control,
                pipeline,
                lambda client: start_version(client, settings, pipeline, version, force=opening.is_forced),
                opening.clock,
                time.sleep,
                ready_s=self.ready_s,
                is_forced=opening.is_forced,
                goes_back=opening.goes_back,
                overrides_others=opening.overrides_others,
                notices=(notice,) if notice else (),
            )

    def api(self) -> Api:
        """The cluster's API, in the target's namespace.

        Raises:
            UsageError: lightkube is not installed, or the kubeconfig cannot be used.
        """
        from deploy.kubernetes.api import Api

        return Api(self.values.namespace, self.context)


def read_settings(section: Section) -> KubernetesSettings:
    context = section.take("context", text, "")
    control_url = section.take("control_url", parsed(_url), "")
    ready_s = section.take("ready_s", integer(1, 86_400), READY_S)
    with section.section("values") as values:
        return KubernetesSettings(take_values(values), context, control_url, ready_s)


def _url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username is not None:
        raise PipelineError("it is no URL of a gateway", remedy="write https://host, without credentials")
    return value.rstrip("/")
