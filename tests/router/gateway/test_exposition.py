"""Prometheus' text: what we write and merge is what Prometheus' own parser reads."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from router.gateway import exposition
from router.gateway.exposition import Series

VALUES = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


def samples(text: str) -> dict:
    return {
        (row.name, *sorted(row.labels.items())): row.value
        for family in text_string_to_metric_families(text)
        for row in family.samples
    }


@given(VALUES, st.lists(st.integers(0, 1 << 40), min_size=3, max_size=3), st.floats(0, 1e6))
def test_a_histogram_reads_back_whatever_its_labels_hold(value, counts, total):
    counts = sorted(counts)
    text = exposition.histogram("x_seconds", "Help", ["0.1", "2.0"], [Series({"endpoint": value}, counts, total)])
    found = samples(text)
    label = ("endpoint", value)
    assert [found["x_seconds_bucket", label, ("le", edge)] for edge in ("0.1", "2.0", "+Inf")] == counts
    assert found["x_seconds_count", label] == counts[-1]
    assert math.isclose(found["x_seconds_sum", label], total)
    assert len(found) == 5


def test_a_histogram_without_series_is_a_head_alone():
    assert exposition.histogram("x", "Help", ["1"], []) == "# HELP x Help\n# TYPE x histogram\n"


@given(st.lists(st.dictionaries(VALUES, st.integers(0, 9), max_size=3), min_size=1, max_size=4))
def test_merged_documents_have_every_family_once_and_every_sample(documents):
    texts = []
    for number, document in enumerate(documents):
        lines = [f'a{{v="{exposition.escaped(value)}",gateway="{number}"}} {n}\n' for value, n in document.items()]
        only = f"# HELP only_{number} O\n# TYPE only_{number} gauge\nonly_{number} 1\n"
        texts.append(("# HELP a A\n# TYPE a gauge\n" + "".join(lines) + only).encode())
    merged = exposition.merged(texts).decode()
    assert merged.count("# TYPE a gauge") == 1
    expected = {}
    for text in texts:
        expected |= samples(text.decode())
    assert samples(merged) == expected


def test_it_is_said_which_gateway_did_not_answer():
    assert samples(exposition.answered({1: False, 0: True}).decode()) == {
        ("divisions_gateway_answered", ("gateway", "0")): 1,
        ("divisions_gateway_answered", ("gateway", "1")): 0,
    }
