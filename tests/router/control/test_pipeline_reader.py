"""Pipeline files for the page: text without secrets, the next run, and what is wrong with them."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from divisions.pipeline.trigger import Cron
from divisions.schedule.decisions import new_entry
from divisions.schedule.state import Ended, Outcome, Phase, Schedule, ScheduledRun
from router.control import pipeline_reader
from router.control.pipeline_reader import PipelineReader

NOW_S = 1_795_744_800.0
STAGES = "stages: {data_prep: {input: 's3://key:hunter2@b'}, deployment: {endpoint: /api/v2/predict/churn}}\n"


def written(root: Path, name: str, text: str) -> str:
    path = root / ".divisions" / "pipeline" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return str(path)


def entry(pipeline: str, path: str):
    return new_entry(pipeline, path, Cron("0 2 * * *"), NOW_S, is_added=False)


def test_scheduled_files_come_first_with_their_next_run(tmp_path):
    path = written(tmp_path, "a.yaml", f"pipeline: b-churn\n{STAGES}")
    written(tmp_path, "z.yaml", f"pipeline: other\n{STAGES}")
    written(tmp_path, "broken.yaml", "pipeline: [")
    run = ScheduledRun("job", NOW_S - 60.0, Phase.STARTED)
    ended = Ended(NOW_S - 90.0, Outcome.FAILED, "no disk", "job", "run-1")
    schedule = Schedule((msgspec.structs.replace(entry("b-churn", path), run=run, last=ended),))
    first, broken, other = PipelineReader(tmp_path / ".divisions" / "state").read(schedule, NOW_S)
    assert (first.pipeline, first.path, first.is_scheduled, first.is_running) == (
        "b-churn", ".divisions/pipeline/a.yaml", True, True
    )  # fmt: skip
    assert first.text is not None
    assert "hunter2" not in first.text
    assert "predict/churn" in first.text
    assert (first.next_run_s or 0.0) % 86_400 == 7_200.0
    assert first.last is not None
    assert (first.last.outcome, first.last.run_id) == ("failed", "run-1")
    assert (other.pipeline, other.is_scheduled, other.next_run_s, other.fault) == ("other", False, None, "")
    assert (broken.pipeline, broken.text) == ("broken", "pipeline: [")
    assert broken.fault


def test_a_file_that_is_gone_says_so(tmp_path):
    (row,) = PipelineReader(tmp_path).read(Schedule((entry("churn", "/nowhere/secret-folder/a.yaml"),)), NOW_S)
    assert (row.path, row.text) == ("a.yaml", None)
    assert "cannot be read" in row.fault


def test_texts_are_bounded_one_by_one_and_together(tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline_reader, "MOST_BYTES", 60)
    monkeypatch.setattr(pipeline_reader, "MOST_BYTES_OF_ALL", 100)
    rows = []
    for name, size in (("long", 61), ("one", 60), ("two", 60), ("three", 40)):
        rows.append(entry(name, written(tmp_path, name, "#" * size)))
    found = PipelineReader(tmp_path / ".divisions" / "state").read(Schedule(tuple(rows)), NOW_S)
    assert [row.text is not None for row in found] == [False, True, False, True]


def test_a_home_elsewhere_shows_only_what_is_scheduled(tmp_path):
    written(tmp_path, "a.yaml", f"pipeline: churn\n{STAGES}")
    assert PipelineReader(tmp_path / "elsewhere").read(Schedule(), NOW_S) == ()


def test_a_file_whose_name_is_no_text_is_shown_all_the_same(tmp_path):
    written(tmp_path, os.fsdecode(b"\xff.yaml"), "pipeline: [")
    (row,) = PipelineReader(tmp_path / ".divisions" / "state").read(Schedule(), NOW_S)
    assert msgspec.json.encode(row)
    assert row.path == ".divisions/pipeline/?.yaml"
