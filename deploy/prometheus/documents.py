"""The rules and the configuration as YAML. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import yaml

from deploy.prometheus import rules, slo_rules
from divisions.errors import UsageError
from divisions.pipeline.definition import Pipeline

RULES = "rules.yml"
_MANY_CHARACTERS = 110


def rule_file(pipelines: Iterable[Pipeline] = ()) -> str:
    """The rules of a cluster, and those of the pipelines that have an SLO.

    Raises:
        UsageError: two pipelines serve the same endpoint.
    """
    groups = rules.groups()
    owners: dict[str, str] = {}
    for pipeline in pipelines:
        group = slo_rules.group(pipeline)
        if group is None:
            continue
        other = owners.setdefault(pipeline.deployment.endpoint, pipeline.name)
        if any(each["name"] == group["name"] for each in groups):
            raise UsageError(
                f"{other} and {pipeline.name} both have an SLO for {pipeline.deployment.endpoint}",
                remedy="keep it in one of the files",
            )
        groups.append(group)
    return _yaml({"groups": groups})


@dataclass(frozen=True, slots=True)
class ScrapeTls:
    """How Prometheus knows gateways whose port has TLS.

    Attributes:
        ca_file: what it trusts.
        server_name: a name in their certificate; empty for the address that it asks.
    """

    ca_file: str
    server_name: str = ""


def configuration(
    targets: str, rule_files: Iterable[str] = (RULES,), interval: str = "15s", tls: ScrapeTls | None = None
) -> str:
    """What Prometheus scrapes, and by which rules it alerts.

    Args:
        targets: pattern of the files that gateways write, see `router.gateway.slot`.
        rule_files: relative to the configuration, or absolute.
        interval: between two scrapes.
        tls: of the gateways' ports; None if they have none.
    """
    job: dict[str, Any] = {"job_name": "divisions", "metrics_path": "/metrics"}
    if tls is not None:
        name = {"server_name": tls.server_name} if tls.server_name else {}
        job |= {"scheme": "https", "tls_config": {"ca_file": tls.ca_file, **name}}
    job["file_sd_configs"] = [{"files": [targets]}]
    return _yaml(
        {
            "global": {"scrape_interval": interval, "evaluation_interval": interval},
            "rule_files": list(rule_files),
            "scrape_configs": [job],
        }
    )


def _yaml(content: Any) -> str:
    return yaml.safe_dump(content, sort_keys=False, width=_MANY_CHARACTERS, allow_unicode=True)
