"""Inputs as other systems write them: each gives exactly the right values, or one clear line. None passes silently."""

import re
from collections.abc import Iterable

import pandas as pd
import pytest

from divisions.errors import InputError
from divisions.pipeline.definition import Features
from divisions.settings import S3Settings
from tests.trainers.data.nasty.case import NOW, Nasty
from tests.trainers.data.nasty.page import CASES, PAGE, render
from trainers.data.ingest import RawEvents, Reading, read_events


def read(folder, case: Nasty) -> RawEvents:
    return read_events(
        str(folder),
        s3=S3Settings(),
        allow_buckets=(),
        features=Features(**case.features),
        label="churn",
        reading=Reading(format=case.format, now=NOW),
    )


@pytest.mark.parametrize("case", [case for _, cases in CASES for case in cases], ids=lambda case: case.what)
def test_what_comes_out(case, tmp_path):
    case.write(tmp_path)
    if case.error:
        with pytest.raises(InputError) as caught:
            read(tmp_path, case)
        text = str(caught.value)
        assert "\n" not in text
        assert caught.value.remedy
        assert_found(case.error, [text])
        return
    events = read(tmp_path, case)
    rows = events.frame.sort_values("customer_id", key=lambda names: names.str.len() * 10**6 + names.rank())
    for name, expected in case.values.items():
        got = [None if pd.isna(value) else value for value in rows[name]]
        assert got == expected, name
    assert {name: events.kinds.get(name) for name in case.kinds} == case.kinds
    assert events.reasons == case.quarantined
    assert_found(case.notes, events.notes)


def assert_found(patterns: Iterable[str], texts: Iterable[str]) -> None:
    for pattern in patterns:
        assert any(re.search(pattern, text) for text in texts), f"{pattern!r} is in none of {list(texts)}"


def test_the_page_in_the_docs_is_written_from_these_inputs(tmp_path):
    names = [case.what for _, cases in CASES for case in cases]
    assert len(names) == len(set(names)) >= 60
    fresh = tmp_path / PAGE.name
    fresh.write_text(render())
    assert PAGE.read_text() == fresh.read_text(), f"copy {fresh} to docs/"
