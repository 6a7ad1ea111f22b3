"""Sends spans by OTLP over HTTP, as the variables of OpenTelemetry say: its SDK reads them here."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

from divisions.environment import set_default_environment
from divisions.traces.exporting import Export

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExporter

NOT_INSTALLED = "DIVISIONS_TRACES is set, but OpenTelemetry is not installed; pip install 'divisions[traces]'"


def is_installed() -> bool:
    """Whether the extra is there."""
    return find_spec("opentelemetry.exporter.otlp") is not None and find_spec("opentelemetry.sdk") is not None


def opened(service: str) -> tuple[Resource, Export]:
    """Who the spans are of, and what sends them.

    Args:
        service: their ``service.name``, unless ``OTEL_SERVICE_NAME`` has another.
    """
    set_default_environment({"OTEL_SERVICE_NAME": service})
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource

    return Resource.create(), export_by(OTLPSpanExporter())


def export_by(exporter: SpanExporter) -> Export:
    """Sends by an exporter of the SDK; tells why spans were not taken."""
    from opentelemetry.sdk.trace.export import SpanExportResult

    told = _LastWords()
    logger = logging.getLogger("opentelemetry.exporter.otlp")
    logger.propagate = False  # It tells every attempt; `Exporting` tells each reason once.
    logger.addHandler(told)

    def export(spans: Sequence[ReadableSpan]) -> str:
        told.text = ""
        result = exporter.export(spans)
        return "" if result is SpanExportResult.SUCCESS else told.text or "it did not say why"

    return export


class _LastWords(logging.Handler):
    """Keeps what the SDK last said, without what may be secret in a URL."""

    text = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.text = without_secrets(record.getMessage())


def without_secrets(text: str) -> str:
    """A line for people: short, and without the password of a URL.

    >>> without_secrets("no answer from http://ann:pass@host:4318/v1/traces?key=1 today")
    'no answer from http://host:4318/v1/traces today'
    """
    return re.sub(r"\?[^\s'\"]*", "", re.sub(r"//[^/@\s]*@", "//", text))[:200]
