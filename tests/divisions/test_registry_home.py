"""The embedded registry of a home that was moved: its artifacts are in the new place, old records are read."""

import sqlite3
import tarfile
from contextlib import closing
from pathlib import Path

import pytest
from mlflow.store.db import utils
from mlflow.store.tracking.dbmodels.initial_models import Base as InitialBase

from divisions.artifacts.cache import Bundles
from divisions.registry import Registry
from divisions.registry_home import follow_home, make_database
from divisions.versions import ValidationStatus

FIXTURE = Path(__file__).parents[1] / "fixtures" / "home-0.tar.xz"
"""A home that release 0.1.0 wrote in /tmp/oldhome/state, with one promoted version."""


@pytest.fixture
def home(tmp_path):
    with tarfile.open(FIXTURE) as archive:
        archive.extractall(tmp_path / "a home", filter="data")
    return tmp_path / "a home"


def locations(home):
    columns = ("experiments.artifact_location", "runs.artifact_uri", "model_versions.source")
    with closing(sqlite3.connect(home / "mlflow.db")) as connection:
        for column in columns:
            table = column.partition(".")[0]
            yield from (text for (text,) in connection.execute(f"SELECT {column} FROM {table}"))


def test_a_bundle_that_an_older_record_names_is_found_in_the_home(home):
    version = Registry(home).get_version("churn-predictor", "production")
    assert str(version.bundle_path).startswith("/tmp/oldhome/state/bundles/")
    folder, manifest = Bundles(home).open(version.bundle_path, version.bundle_sha256)
    assert folder.parents[2] == home
    assert manifest.model == "churn-predictor"


def test_the_next_run_writes_into_the_new_place(home):
    registry = Registry(home)
    first = registry.get_version("churn-predictor", "3.1")
    folder, _ = Bundles(home).open(first.bundle_path, first.bundle_sha256)
    with registry.start_run("customer-churn-v3", "a run", {}) as run:
        second = registry.register(
            run,
            model="churn-predictor",
            major=3,
            bundle_path=folder,
            bundle_sha256=first.bundle_sha256,
            metrics={},
            status=ValidationStatus.PASSED,
        )
    assert (home / "mlartifacts" / second.run_id / "artifacts" / "bundle" / "manifest.json").is_file()
    assert second.bundle_path == Path("churn-predictor") / first.bundle_sha256[:16]
    assert not any("oldhome" in text for text in locations(home))


def test_following_touches_only_the_other_homes_locations_and_only_once(home):
    with closing(sqlite3.connect(home / "mlflow.db")) as connection, connection:
        connection.execute(
            "INSERT INTO experiments (experiment_id, name, artifact_location, workspace)"
            " VALUES (7, 'other', 's3://bucket/mlartifacts', 'default')"
        )
        connection.execute("UPDATE runs SET artifact_uri = 'file:///tmp/oldhome/state/mlartifacts-2/x' WHERE rowid = 0")
    assert follow_home(home / "mlflow.db", home) > 0
    assert "s3://bucket/mlartifacts" in list(locations(home))
    assert f"{(home / 'mlartifacts').as_uri()}" in list(locations(home))
    assert follow_home(home / "mlflow.db", home) == 0


def test_a_first_run_that_is_interrupted_leaves_no_half_of_a_database(tmp_path, monkeypatch):
    half_made(tmp_path / "mlflow.db")  # as a release before this one left it
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))  # it has nothing that could be copied

    def interrupted(engine):
        InitialBase.metadata.create_all(engine)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(utils, "_initialize_tables", interrupted)
        with pytest.raises(KeyboardInterrupt):
            Registry(tmp_path).start_run("churn", "a run", {})
    with Registry(tmp_path).start_run("churn", "a run", {}) as run:
        pass
    assert [one.run_id for one in Registry(tmp_path).list_runs(None, 9)] == [run.run_id]


def test_a_database_with_runs_is_never_made_anew(tmp_path):
    database = tmp_path / "mlflow.db"
    half_made(database)
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("INSERT INTO registered_models (name) VALUES ('churn')")
    before = database.read_bytes()
    make_database(database)
    assert database.read_bytes() == before


def half_made(database):
    """A database whose first migrations have not ended."""
    engine = utils.create_sqlalchemy_engine(f"sqlite:///{database}")
    InitialBase.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE IF NOT EXISTS registered_models (name VARCHAR(256) NOT NULL)")
    engine.dispose()
