"""Against a real MLflow on SQLite. One database for the module: creating one takes a second."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
from pathlib import Path

import pytest

from divisions.errors import RegistryError
from divisions.registry import Registry
from divisions.versions import ValidationStatus
from tests.builders import bundle_to_register

PASSED, FAILED = ValidationStatus.PASSED, ValidationStatus.FAILED
names = (f"model-{number}" for number in itertools.count())


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def registry(home) -> Registry:
    return Registry(home)


@pytest.fixture
def model() -> str:
    """Each test has a model of its own."""
    return next(names)


def start(registry, pipeline="customer-churn-v3"):
    return registry.start_run(pipeline, "a run", {"divisions.input_uri": "file"})


def register(registry, home, model, status=PASSED, run=None, **options):
    bundle = bundle_to_register(home / "a-bundle")
    values = {"metrics": {"auc": 0.91}, "lineage": {"data_sha256": "d0"}, **options}

    def go(run):
        return registry.register(
            run, model=model, major=3, bundle_path=bundle, bundle_sha256="b0", status=status, **values
        )

    if run is not None:
        return go(run)
    with start(registry) as opened:
        return go(opened)


def test_a_version_is_labelled_by_the_pipelines_major_and_the_registrys_number(registry, home, model):
    first, second = register(registry, home, model), register(registry, home, model)
    assert (first.version, first.registry_version) == ("3.1", 1)
    assert (second.version, second.registry_version) == ("3.2", 2)
    assert second.bundle_path == Path(model) / "b0", "an address, not a path of this machine"
    assert second.bundle_sha256 == "b0"
    assert second.metrics == {"auc": 0.91}
    assert second.lineage == {"data_sha256": "d0"}


def test_the_bundle_is_stored_with_the_run(registry, home, model):
    version = register(registry, home, model)
    assert (home / "mlartifacts" / version.run_id / "artifacts" / "bundle" / "model.onnx").read_bytes() == b"graph"


def test_the_newest_that_passed_is_staging_and_a_failed_one_is_nothing(registry, home, model):
    register(registry, home, model)
    register(registry, home, model)
    failed = register(registry, home, model, FAILED, message="auc > 0.85: auc is 0.8")
    assert [(v.version, v.aliases) for v in registry.list_versions(model)] == [
        ("3.3", ()),
        ("3.2", ("staging",)),
        ("3.1", ()),
    ]
    assert (failed.validation_status, failed.message) == (FAILED, "auc > 0.85: auc is 0.8")


def test_promotion_moves_the_alias_and_archives_what_was_there(registry, home, model):
    register(registry, home, model)
    register(registry, home, model)
    assert registry.set_production(model, "3.1").aliases == ("production",)
    assert registry.set_production(model, "3.2").aliases == ("production",)
    old = registry.get_version(model, "3.1")
    assert (old.aliases, old.is_archived) == ((), True)
    assert registry.set_production(model, "3.2") == registry.get_version(model, "production")  # again: no change


def test_a_rollback_brings_an_archived_version_back(registry, home, model):
    register(registry, home, model)
    register(registry, home, model)
    registry.set_production(model, "3.1")
    registry.set_production(model, "3.2")
    assert not registry.set_production(model, "3.1").is_archived
    assert registry.get_version(model, "3.2").is_archived


def test_only_what_passed_may_be_promoted(registry, home, model):
    register(registry, home, model, FAILED)
    with pytest.raises(RegistryError, match=r"version 3\.1 of .* is failed, not passed"):
        registry.set_production(model, "3.1")
    assert registry.get_version(model, "3.1").aliases == ()


def test_production_is_the_reference_else_the_newest_that_passed_else_nothing(registry, home, model):
    assert registry.reference_version(model) is None
    register(registry, home, model, FAILED)
    assert registry.reference_version(model) is None
    register(registry, home, model)
    register(registry, home, model)
    assert registry.reference_version(model).version == "3.3"
    registry.set_production(model, "3.2")
    assert registry.reference_version(model).version == "3.2"


def test_a_version_is_found_by_label_number_and_alias(registry, home, model):
    register(registry, home, model)
    found = [registry.get_version(model, wanted) for wanted in ("3.1", 1, "1", "staging")]
    assert {version.registry_version for version in found} == {1}
    for wanted in ("3.2", 2, "production"):
        with pytest.raises(RegistryError, match="has no version"):
            registry.get_version(model, wanted)


def test_archive_refuses_production(registry, home, model):
    register(registry, home, model)
    register(registry, home, model)
    registry.set_production(model, "3.1")
    archived = registry.archive(model, "3.2")
    assert (archived.is_archived, archived.aliases) == (True, ())
    with pytest.raises(RegistryError, match="is in production"):
        registry.archive(model, "3.1")


def test_a_run_that_raises_is_failed_and_says_why(registry, home, model):
    run = start(registry)
    run.log_params({"learning_rate": 0.001})
    run.log_metrics({"loss": 0.5, "auc": math.nan}, step=1)
    with pytest.raises(ZeroDivisionError), run:
        raise ZeroDivisionError("no data")
    record = registry.get_run(run.run_id)
    assert (record.status, record.tags["error"]) == ("FAILED", "ZeroDivisionError: no data")
    assert record.params == {"learning_rate": "0.001"}
    assert record.metrics == {"loss": 0.5}
    assert registry.list_versions(model) == []


@pytest.mark.parametrize("step", ["set_model_version_tag", "set_registered_model_alias"])
def test_a_registration_that_breaks_off_leaves_no_version(registry, home, model, monkeypatch, step):
    def refuse(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr(registry._client, step, refuse)
    with pytest.raises(RegistryError, match="disk full"), start(registry) as run:
        register(registry, home, model, run=run)
    monkeypatch.undo()
    assert registry.list_versions(model) == []
    assert registry.get_run(run.run_id).status == "FAILED"
    assert register(registry, home, model).validation_status is PASSED


def test_a_finished_run_can_be_read(registry):
    with start(registry, "another-pipeline") as run:
        pass
    record = registry.get_run(run.run_id)
    assert (record.run_id, record.status, record.pipeline) == (run.run_id, "FINISHED", "another-pipeline")
    with pytest.raises(RegistryError):
        registry.get_run("0" * 32)


def test_a_runs_file_is_fetched_to_the_same_path(registry, tmp_path):
    with registry.start_run("customer-churn-v3", "a run", {}) as run:
        run.log_texts({"validation/report.html": "whole", "plain.txt": "x"})
    for path in ("validation/report.html", "plain.txt"):
        registry.download_artifact(run.run_id, path, tmp_path)
    assert (tmp_path / "validation" / "report.html").read_text() == "whole"
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "home") == ["plain.txt", "validation"]


def test_an_unreachable_registry_is_one_clear_error(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(RegistryError, match="the model registry could not"):
        Registry(blocked).list_versions()


def test_a_version_is_passed_after_all_other_steps_and_gets_its_alias_last(registry, home, model, monkeypatch):
    calls = []
    for name in ("create_model_version", "set_model_version_tag", "set_registered_model_alias"):
        real = getattr(registry._client, name)

        def record(*given, _name=name, _real=real, **more):
            calls.append((_name, *given[2:]))
            return _real(*given, **more)

        monkeypatch.setattr(registry._client, name, record)
    register(registry, home, model)
    assert [call[0] for call in calls[:1]] == ["create_model_version"]
    assert calls[-2:] == [
        ("set_model_version_tag", "validation_status", "passed"),
        ("set_registered_model_alias", "1"),
    ]
    assert sum("passed" in call for call in calls) == 1


def test_a_version_that_cannot_be_read_back_is_not_passed(registry, home, model, monkeypatch):
    def refuse(*_):
        raise RegistryError("the registry has no version 1")

    monkeypatch.setattr(registry, "get_version", refuse)
    with pytest.raises(RegistryError), start(registry) as run:
        register(registry, home, model, run=run)
    monkeypatch.undo()
    assert registry.list_versions(model) == []


def test_an_archived_version_comes_back_and_is_staging_if_it_is_the_newest(registry, home, model):
    register(registry, home, model)
    register(registry, home, model)
    registry.archive(model, "3.2")
    assert registry.reference_version(model).version == "3.1"
    back = registry.unarchive(model, "3.2")
    assert (back.is_archived, back.aliases) == (False, ("staging",))
    registry.archive(model, "3.1")
    older = registry.unarchive(model, "3.1")
    assert (older.is_archived, older.aliases) == (False, ())
    assert registry.get_version(model, "3.2").aliases == ("staging",)
    assert registry.unarchive(model, "3.1") == older


def test_a_failed_or_promoted_version_does_not_become_staging(registry, home, model):
    register(registry, home, model)
    register(registry, home, model, FAILED)
    registry.set_production(model, "3.1")
    registry.archive(model, "3.2")
    assert registry.unarchive(model, "3.2").aliases == ()
    assert registry.get_version(model, "3.1").aliases == ("production",)


def test_archived_versions_are_compared_with_only_if_there_is_no_other(registry, home, model):
    register(registry, home, model)
    registry.archive(model, "3.1")
    assert registry.reference_version(model).version == "3.1"


def test_versions_of_other_tools_are_skipped(registry, home, model):
    ours = register(registry, home, model)
    client = registry._client
    client.create_model_version(model, "file:///elsewhere", tags={"validation_status": "approved"})
    assert registry.list_versions(model) == [ours]
    with pytest.raises(RegistryError, match="was registered by another tool"):
        registry.get_version(model, 2)


def test_machines_that_share_a_database_share_the_place_of_its_artifacts(tmp_path, model):
    database, shared = f"sqlite:///{tmp_path / 'shared.db'}", tmp_path / "shared"
    version = register(Registry(tmp_path / "one", database, artifacts=str(shared)), tmp_path, model)
    assert Registry(tmp_path / "two", database, artifacts=str(shared)).get_version(model, "3.1") == version
    registered = Registry(tmp_path / "two", database)._client.get_model_version(model, "1")
    assert registered.source == f"{shared.as_uri()}/{version.bundle_path}", "the store has it; MLflow gets no copy"
    assert not shared.exists()


def test_without_a_shared_place_artifacts_are_in_the_home_and_not_in_the_current_folder(tmp_path, model, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    register(Registry(tmp_path / "home", f"sqlite:///{tmp_path / 'shared.db'}"), tmp_path, model)
    assert list((tmp_path / "home").glob("mlartifacts/*/artifacts/bundle/manifest.json"))
    assert not list((tmp_path / "here").iterdir())


def test_a_registration_that_died_before_its_alias_is_mended_by_whoever_needs_it(registry, home, model, monkeypatch):
    """The registry dies after the version has passed, so the version cannot be taken back either."""
    register(registry, home, model)
    client = registry._client

    def die(*_):
        raise ConnectionError("the registry is gone")

    with monkeypatch.context() as patch:
        patch.setattr(client, "set_registered_model_alias", die)
        patch.setattr(client, "delete_model_version", die)
        with pytest.raises(RegistryError, match="the registry is gone"):
            register(registry, home, model)
    assert registry.get_version(model, "3.2").aliases == ()
    assert registry.get_version(model, "staging").version == "3.2"
    registry.set_production(model, "3.2")
    assert registry.reference_version(model).version == "3.2"
    assert registry.get_version(model, "3.1").aliases == (), "older than what is in production"


def test_a_run_whose_process_was_killed_ends_when_the_next_one_starts(registry, home):
    """Its file says so: it is unlocked, and still there. One that goes on, and one that has ended, stay as they are."""
    script = (
        "import os, sys; from pathlib import Path; from divisions.registry import Registry\n"
        "run = Registry(Path(sys.argv[1])).start_run('killed', 'a run', {})\n"
        "print(run.run_id, flush=True); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(home)], capture_output=True, text=True, check=False)
    killed = done.stdout.split()[-1]
    assert registry.get_run(killed).status == "RUNNING"
    with start(registry) as alive:
        assert registry.get_run(killed).status == "KILLED"
        assert "was killed" in registry.get_run(killed).tags["error"]
        with start(registry) as second:
            assert registry.get_run(alive.run_id).status == "RUNNING"
    assert {registry.get_run(run.run_id).status for run in (alive, second)} == {"FINISHED"}
    assert list((home / "run-claims").iterdir()) == []


def test_a_run_whose_end_the_registry_did_not_take_is_ended_later(registry, home, monkeypatch):
    def die(*_):
        raise ConnectionError("the registry is gone")

    with monkeypatch.context() as patch, pytest.raises(RegistryError, match="is gone"), start(registry) as run:
        patch.setattr(registry._client, "set_terminated", die)
    assert registry.get_run(run.run_id).status == "RUNNING"
    with start(registry):
        assert registry.get_run(run.run_id).status == "KILLED"
