"""MLflow's database of a new home: copied from the user's cache where that is sound, else made by the migrations."""

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import mlflow
import pytest
from mlflow.store.db import utils

from divisions.registry import Registry
from divisions.registry_home import make_database
from divisions.registry_template import keep_template, read_template


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "divisions"


@pytest.fixture(scope="module")
def migrated(tmp_path_factory):
    """What the migrations make, once for all tests."""
    folder = tmp_path_factory.mktemp("migrated")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        make_database(folder / "mlflow.db")
        return (folder / "mlflow.db").read_bytes()


@pytest.fixture
def migrations(migrated, monkeypatch):
    """Counts them; they make what they have made."""
    ran = []

    def initialize(engine):
        ran.append(engine.url.database)
        Path(engine.url.database).write_bytes(migrated)

    monkeypatch.setattr(utils, "_initialize_tables", initialize)
    return ran


def tables(database):
    with closing(sqlite3.connect(database)) as connection:
        return sorted(connection.execute("SELECT name, sql FROM sqlite_master").fetchall(), key=str)


def test_a_second_home_has_what_the_migrations_made_and_takes_runs(tmp_path, cache, migrations):
    make_database(tmp_path / "first.db")
    with Registry(tmp_path / "home").start_run("churn", "a run", {}) as run:
        pass
    assert migrations == [str(tmp_path / "first.db.draft")]
    assert [one.run_id for one in Registry(tmp_path / "home").list_runs(None, 9)] == [run.run_id]
    assert tables(tmp_path / "home" / "mlflow.db") == tables(tmp_path / "first.db")
    (template,) = cache.iterdir()
    assert template.stat().st_mode & 0o777 == 0o600
    assert not (tmp_path / "home" / "mlflow.db.draft").exists()


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:20],
        lambda data: data[:-1],
        lambda data: data[:60_000] + bytes([data[60_000] ^ 1]) + data[60_001:],
        lambda data: data[32:],
    ],
    ids=["empty", "half a hash", "a byte less", "a bit changed", "no hash"],
)
def test_a_damaged_template_is_made_anew(tmp_path, cache, migrations, damage):
    make_database(tmp_path / "first.db")
    (template,) = cache.iterdir()
    template.write_bytes(damage(template.read_bytes()))
    make_database(tmp_path / "second.db")
    make_database(tmp_path / "third.db")
    assert len(migrations) == 2
    assert tables(tmp_path / "second.db") == tables(tmp_path / "third.db") == tables(tmp_path / "first.db")


def test_a_template_that_others_may_write_is_not_trusted(tmp_path, cache, migrations):
    make_database(tmp_path / "first.db")
    (template,) = cache.iterdir()
    template.chmod(0o666)
    make_database(tmp_path / "second.db")
    assert len(migrations) == 2


def test_another_mlflow_has_a_template_of_its_own(tmp_path, cache, migrations, monkeypatch):
    make_database(tmp_path / "first.db")
    monkeypatch.setattr(mlflow, "__version__", "99.1")
    make_database(tmp_path / "second.db")
    assert (len(migrations), len(list(cache.iterdir()))) == (2, 2)


@pytest.mark.parametrize("place", ["a file", "no folder of the user"])
def test_a_cache_that_cannot_be_written_costs_the_migrations_and_nothing_else(
    tmp_path, cache, migrations, monkeypatch, place
):
    if place == "a file":
        cache.parent.write_text("in the way")
    else:
        monkeypatch.delenv("XDG_CACHE_HOME")
        monkeypatch.setattr("pathlib.Path.home", no_home)
    make_database(tmp_path / "first.db")
    make_database(tmp_path / "second.db")
    assert len(migrations) == 2
    assert tables(tmp_path / "second.db") == tables(tmp_path / "first.db")


def no_home():
    raise RuntimeError("Could not determine home directory.")


def test_of_homes_that_are_made_at_once_each_reads_a_whole_template_or_none(cache, migrated):
    keep_template(migrated)
    others = [migrated + bytes([number]) for number in range(4)]
    writers = [threading.Thread(target=lambda each=each: [keep_template(each) for _ in range(5)]) for each in others]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        assert read_template() in {migrated, *others}
    assert read_template() in set(others)
    assert len(list(cache.iterdir())) == 1, "nothing is left over"
