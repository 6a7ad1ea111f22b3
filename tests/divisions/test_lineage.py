"""Which facts are told, and which versions a piece of data leads to."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from divisions.lineage import sections, used_by
from divisions.versions import RegisteredVersion, ValidationStatus

DIGEST = "0123456789abcdef" * 4
facts = st.dictionaries(st.sampled_from(["partition", "python", "code", "data_sha256", "new", "also_new"]), st.text())


def version(number, **lineage):
    return RegisteredVersion(
        "churn-predictor",
        f"3.{number}",
        number,
        f"run-{number}",
        Path("churn-predictor/b0"),
        "b0",
        ValidationStatus.PASSED,
        {},
        lineage=lineage,
    )


@given(facts)
def test_no_fact_is_left_out_or_told_twice(lineage):
    told = [row for title, rows in sections(version(1, **lineage)) if title != "Run" for row in rows]
    assert sorted(told) == sorted(lineage.items())


def test_the_sections_are_in_reading_order_and_the_run_comes_first():
    found = sections(version(1, python="3.11", data_sha256=DIGEST, code="0.1.0 (abc)", partition="2025-01-14"))
    assert [title for title, _ in found] == ["Run", "Data", "Code", "Environment"]
    assert dict(found)["Run"] == [("run_id", "run-1"), ("bundle_sha256", "b0")]
    assert dict(found)["Data"] == [("partition", "2025-01-14"), ("data_sha256", DIGEST)]


VERSIONS = [
    version(1, partition="2025-01-13", input_uri="s3://raw/partition=2025-01-13", data_sha256=DIGEST),
    version(2, partition="2025-01-14", input_uri="s3://raw/partition=2025-01-14/", data_sha256="f" * 64),
    version(3, input_uri="/data/events.parquet"),
    version(4),
]


@pytest.mark.parametrize(
    ("data", "numbers"),
    [
        ("2025-01-14", [2]),
        ("partition=2025-01-13", [1]),
        ("s3://raw/partition=2025-01-14", [2]),
        ("/data/events.parquet", [3]),
        (DIGEST, [1]),
        (DIGEST[:8], [1]),
        (DIGEST[:7], []),
        ("2025-01", []),
        ("", []),
        ("partition=", []),
    ],
)
def test_data_lead_to_the_versions_that_have_used_them(data, numbers):
    assert [each.registry_version for each in used_by(VERSIONS, data)] == numbers
