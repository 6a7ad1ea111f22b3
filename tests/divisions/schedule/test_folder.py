"""Which pipelines are scheduled, while files appear, change, break and go."""

from pathlib import Path

import msgspec
import pytest

from divisions.pipeline.trigger import Cron
from divisions.schedule.decisions import new_entry
from divisions.schedule.folder import PIPELINES, PipelineFiles, files_of, observe
from divisions.schedule.state import Schedule, ScheduledRun

NOW_S = 1_000_000.0
STAGES = "stages: {data_prep: {input: data}, deployment: {endpoint: /api/v2/predict/churn}}\n"


class Root:
    """A folder in which ``divisions up`` runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / PIPELINES).mkdir(parents=True)
        self.schedule = Schedule()
        self.files = PipelineFiles()

    def path(self, name: str) -> Path:
        return self.folder / PIPELINES / name

    def write(self, name: str, pipeline: str = "churn", cron: str | None = "0 2 * * *") -> Path:
        trigger = f'trigger: "schedule: {cron}"\n' if cron else ""
        self.path(name).write_text(f"pipeline: {pipeline}\n{trigger}{STAGES}")
        return self.path(name)

    def look(self, now_s: float = NOW_S) -> Schedule:
        paths = [*files_of(self.folder / PIPELINES), *(entry.path for entry in self.schedule.entries)]
        contents = {path: self.files.read(path) for path in paths}
        self.schedule = observe(self.schedule, self.folder, contents, now_s)
        return self.schedule


@pytest.fixture
def root(tmp_path) -> Root:
    return Root(tmp_path)


def test_files_with_a_trigger_are_scheduled_from_now_on(root):
    path = root.write("a.yaml")
    root.write("b.yml", "other", None)
    root.path("notes.txt").write_text("no pipeline")
    (entry,) = root.look().entries
    assert (entry.pipeline, entry.path) == ("churn", str(path))
    assert (entry.cron, entry.decided_until_s, entry.is_added) == (Cron("0 2 * * *"), NOW_S, False)
    assert root.look(NOW_S + 9) == root.schedule
    assert root.schedule.notes == ()


def test_a_folder_that_is_not_there_has_no_pipelines(tmp_path):
    assert files_of(tmp_path / "absent") == ()


def test_a_trigger_that_changes_counts_from_then_on_and_one_that_goes_ends_the_schedule(root):
    root.write("a.yaml")
    root.look()
    root.write("a.yaml", cron="30 4 * * *")
    (entry,) = root.look(NOW_S + 9).entries
    assert (entry.expression, entry.decided_until_s) == ("30 4 * * *", NOW_S + 9)
    root.write("a.yaml", cron=None)
    assert root.look().entries == ()


def test_a_broken_file_keeps_its_schedule_and_tells_its_mistake(root):
    path = root.write("a.yaml")
    root.look()
    text = path.read_text()
    path.write_text("pipelin: x\n" + text.replace("endpoint", "endpont"))
    (entry,) = root.look().entries
    assert entry.fault.startswith(f"{path}:1:1: unknown key 'pipelin'")
    assert entry.fault.endswith("(and 2 more)")
    path.unlink()
    assert "No such file" in root.look().entries[0].fault
    path.write_text(text)
    assert root.look().entries[0].fault == ""


def test_a_file_that_was_never_good_is_a_note(root):
    root.path("a.yaml").write_text("pipeline: [")
    schedule = root.look()
    assert schedule.entries == ()
    assert len(schedule.notes) == 1
    assert schedule.notes[0].startswith(f"{root.path('a.yaml')}:1:")


def test_two_files_of_one_pipeline_the_first_counts_and_the_other_is_told(root):
    first, second = root.write("a.yaml"), root.write("b.yaml", cron="0 3 * * *")
    schedule = root.look()
    assert [entry.path for entry in schedule.entries] == [str(first)]
    assert schedule.notes == (f"{second}: the pipeline churn is scheduled by {first}",)
    assert root.look().entries == schedule.entries


def test_a_renamed_file_keeps_its_schedule(root):
    root.write("a.yaml").rename(root.path("b.yaml"))
    root.write("a.yaml")
    root.look()
    root.path("a.yaml").unlink()
    (entry,) = root.look(NOW_S + 99).entries
    assert (entry.path, entry.decided_until_s, entry.fault) == (str(root.path("b.yaml")), NOW_S, "")


def test_an_up_in_another_folder_runs_that_folders_pipelines(root, tmp_path_factory):
    root.write("a.yaml")
    root.look()
    other = Root(tmp_path_factory.mktemp("other"))
    other.write("b.yaml", "other")
    other.schedule = root.schedule
    assert [entry.pipeline for entry in other.look().entries] == ["other"]


def test_a_run_that_goes_on_keeps_its_entry(root):
    path = root.write("a.yaml")
    root.look()
    running = msgspec.structs.replace(root.schedule.entries[0], run=ScheduledRun("churn-1", NOW_S))
    root.schedule = root.schedule.with_entry(running)
    root.write("a.yaml", cron=None)
    (entry,) = root.look().entries
    assert entry.run == running.run
    assert entry.fault == f"{path} has no trigger any more"


@pytest.mark.parametrize(
    ("pipeline", "cron", "fault"),
    [("churn", None, "has no trigger any more"), ("x", "0 2 * * *", "is of the pipeline x")],
)
def test_what_a_user_has_added_waits_for_the_user(root, tmp_path, pipeline, cron, fault):
    path = tmp_path / "elsewhere.yaml"
    path.write_text(f"pipeline: churn\n{STAGES}")
    entry = new_entry("churn", str(path), Cron("0 2 * * *"), NOW_S, is_added=True)
    root.schedule = Schedule().with_entry(entry)
    trigger = f'trigger: "schedule: {cron}"\n' if cron else ""
    path.write_text(f"pipeline: {pipeline}\n{trigger}{STAGES}")
    (kept,) = root.look().entries
    assert fault in kept.fault
