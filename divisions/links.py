"""The pages of other tools that the page links to: those of the settings, and those that this installation has itself.

Pure. A password in an address is left out: a link is shown to everybody who may see the page.
"""

from __future__ import annotations

import re
from typing import Final

from divisions.house import Link
from divisions.settings import Settings

NAMES: Final = {"mlflow": "MLflow", "ray": "Ray", "prometheus": "Prometheus", "grafana": "Grafana"}
_USER: Final = re.compile(r"(https?://)[^/@]*@")


def links_of(settings: Settings) -> tuple[Link, ...]:
    """The links that have an address, in the order of `NAMES`. An empty address in the settings takes one away."""
    found: dict[str, str] = {}
    if settings.tracking_uri.startswith(("http://", "https://")):
        found["mlflow"] = _USER.sub(r"\1", settings.tracking_uri)
    if not settings.node_host and not settings.ray_address:
        found["ray"] = f"http://127.0.0.1:{settings.dashboard_port}"
    if settings.prometheus_port:
        found["prometheus"] = f"http://127.0.0.1:{settings.prometheus_port}"
    for item in settings.links:
        name, _, url = item.partition("=")
        found[name] = url
    return tuple(Link(NAMES[name], found[name]) for name in NAMES if found.get(name))
