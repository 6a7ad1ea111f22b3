"""The section ``slo``: what the owner of an endpoint promises its callers."""

from __future__ import annotations

import re

from divisions.errors import PipelineError
from divisions.pipeline.definition import Slo
from divisions.pipeline.yaml_nodes import Node, Scalar
from divisions.pipeline.yaml_sections import Section, number

_PERCENT = re.compile(r"([0-9]{1,2}(?:\.[0-9]{1,6})?) ?%")
_LATENCY = number(0.05, 5_000)
"""The edges of the buckets that latencies are counted in."""


def slo(section: Section) -> Slo | None:
    """Reads the section; None without one."""
    if section.is_empty:
        section.report("it says nothing", "write 'availability: 99.9%', 'latency_ms: 24' or both")
    with section:
        availability = section.take("availability", _share, None)
        latency_ms = section.take("latency_ms", _LATENCY, None)
        share = section.take("latency_share", _share, None)
    if share is not None and latency_ms is None:
        section.report("it is the share of which latency?", "add latency_ms", "latency_share")
    if availability is None and latency_ms is None:
        return None
    return Slo(availability, latency_ms, share or Slo().latency_share)


def _share(node: Node) -> float:
    """A share below 1, written in percent."""
    found = _PERCENT.fullmatch(node.text.strip()) if isinstance(node, Scalar) else None
    percent = float(found[1]) if found else 0.0
    if not 50 <= percent < 100:
        shown = repr(node.text[:60]) if isinstance(node, Scalar) else "no text"
        raise PipelineError(
            f"must be a share from 50% to below 100%, got {shown}",
            remedy="write it in percent, such as 99.9%; nothing is always available",
        )
    return round(percent / 100, 8)
