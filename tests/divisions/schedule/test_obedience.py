"""A pipeline file whose trigger nobody obeys says so, and only then."""

import json
import os

import msgspec
import pytest

from divisions.pipeline.file import load_pipeline
from divisions.schedule.decisions import new_entry
from divisions.schedule.folder import PIPELINES
from divisions.schedule.obedience import what_of_demo, why_not_obeyed
from divisions.schedule.state_file import change_schedule

TEXT = """pipeline: churn
trigger: "schedule: 0 2 * * *"
stages: {data_prep: {input: data}, deployment: {endpoint: /api/v2/predict/churn}}
"""


@pytest.fixture
def home(tmp_path):
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


@pytest.fixture
def file(tmp_path):
    (tmp_path / PIPELINES).mkdir(parents=True)
    path = tmp_path / PIPELINES / "churn.yaml"
    path.write_text(TEXT)
    return path


def up(home, folder, pid=None):
    (home / "cluster.json").write_text(json.dumps({"pid": pid or os.getpid(), "pipelines": str(folder)}))


def told(home, file):
    return why_not_obeyed(home, file, load_pipeline(file))


def test_no_trigger_nothing_to_obey(home, file):
    file.write_text(TEXT.replace('trigger: "schedule: 0 2 * * *"\n', ""))
    assert told(home, file) == ""


@pytest.mark.parametrize("state", ["absent", "ended", "without a scheduler", "damaged"])
def test_without_a_cluster_that_obeys(home, file, state):
    match state:
        case "ended":
            up(home, file.parent, pid=2**22 + 1)
        case "without a scheduler":
            up(home, "")
        case "damaged":
            (home / "cluster.json").write_text("[]")
    assert told(home, file) == (
        f"the trigger 'schedule: 0 2 * * *' starts no runs: no `divisions up` of {home} runs pipelines by their trigger"
    )


def test_a_file_of_the_watched_folder_is_obeyed(home, file):
    up(home, file.parent)
    assert told(home, file) == ""


def test_a_file_elsewhere_is_obeyed_once_it_is_added(home, file, tmp_path):
    up(home, file.parent)
    other = tmp_path / "other.yaml"
    other.write_text(TEXT)
    assert told(home, other).endswith(f"the file is not scheduled; `divisions schedule add {other}` does that")
    entry = new_entry("churn", str(other), load_pipeline(other).trigger, 0.0, is_added=True)
    change_schedule(home, lambda schedule: schedule.with_entry(entry))
    assert told(home, other) == ""
    assert told(home, file).endswith(f"the pipeline churn is scheduled by {other}")
    change_schedule(home, lambda schedule: schedule.with_entry(msgspec.structs.replace(entry, is_paused=True)))
    assert told(home, other).endswith("it is paused; `divisions schedule resume churn` goes on")


def test_after_demo_data_the_trigger_that_will_read_other_data_is_told(home, file):
    pipeline = load_pipeline(file)
    assert what_of_demo(home, file, pipeline) == ""
    up(home, file.parent)
    assert what_of_demo(home, file, pipeline) == (
        "the trigger 'schedule: 0 2 * * *' runs churn on data, not on demo data; "
        "`divisions schedule pause churn` keeps it from that"
    )
    entry = new_entry("churn", str(file), pipeline.trigger, 0.0, is_added=False)
    change_schedule(home, lambda schedule: schedule.with_entry(msgspec.structs.replace(entry, is_paused=True)))
    assert what_of_demo(home, file, pipeline) == ""
