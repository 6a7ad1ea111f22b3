"""The section `slo` of the pipeline file."""

from __future__ import annotations

import pytest

from divisions.errors import PipelineError
from divisions.pipeline.definition import Slo
from divisions.pipeline.file import parse_pipeline

HEAD = """pipeline: churn
stages:
  data_prep: {input: events}
  deployment: {endpoint: /api/v2/predict/churn}
"""


def slo(text: str) -> Slo | None:
    return parse_pipeline(HEAD + text).slo


def test_a_promise_is_availability_or_latency_or_both():
    assert slo("") is None
    assert slo("slo: {availability: 99.9%, latency_ms: 24}") == Slo(0.999, 24.0)
    assert slo("slo:\n  availability: 99.95 %\n") == Slo(0.9995)
    assert slo("slo: {latency_ms: 0.5, latency_share: 95%}") == Slo(None, 0.5, 0.95)


@pytest.mark.parametrize(
    ("text", "message", "place"),
    [
        ("slo: {availability: 99.9}", "slo.availability: must be a share from 50% to below 100%, got '99.9'", (5, 21)),
        ("slo: {availability: 100%}", "slo.availability: must be a share from 50%", (5, 21)),
        ("slo: {availability: 49.9%}", "slo.availability: must be a share from 50%", (5, 21)),
        ("slo: {availability: [99%]}", "got no text", (5, 21)),
        ("slo:\n  latency_ms: 0", "slo.latency_ms: must be a number from 0.05 to 5000, got 0", (6, 15)),
        ("slo:\n  latency_ms: 9000", "slo.latency_ms", (6, 15)),
        ("slo:\n  latency_share: 99%", "slo.latency_share: it is the share of which latency?", (6, 18)),
        ("slo: {}", "slo: it says nothing", (5, 6)),
        ("slo: 99.9%", "slo: must be a section with keys", (5, 6)),
        ("slo: {availabilty: 99.9%}", "did you mean 'availability'", (5, 7)),
    ],
)
def test_a_senseless_promise_is_an_error_at_its_place(text, message, place):
    with pytest.raises(PipelineError) as caught:
        slo(text)
    assert message in str(caught.value)
    assert (caught.value.line, caught.value.column) == place
