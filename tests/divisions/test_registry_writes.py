"""Changes without MLflow leave what its client leaves, and MLflow is not imported for them."""

import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from divisions.errors import RegistryError
from divisions.registry import Registry
from divisions.registry_writes import ClientWrites, SqliteWrites
from divisions.versions import PRODUCTION, STAGING, ValidationStatus
from tests.builders import bundle_to_register


@pytest.fixture
def home(template, tmp_path):
    """A home with two versions. It is a copy, so a test may change it."""
    return shutil.copytree(template, tmp_path / "home")


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    bundle = bundle_to_register(home / "a-bundle")
    registry = Registry(home)
    for _ in range(2):
        with registry.start_run("pipeline", "a run", {}) as run:
            registry.register(
                run,
                model="one",
                major=3,
                bundle_path=bundle,
                bundle_sha256="b0",
                metrics={},
                status=ValidationStatus.PASSED,
            )
    return home


def rows(home):
    with closing(sqlite3.connect(home / "mlflow.db")) as connection:
        tables = ("model_version_tags", "registered_model_aliases")
        return [sorted(connection.execute(f"SELECT * FROM {table}").fetchall()) for table in tables]


def change(writes):
    writes.set_tag("one", 1, "archived", "true")
    writes.set_tag("one", 1, "archived", "yes")
    writes.set_tag("one", 2, "other", "1")
    writes.delete_tag("one", 2, "other")
    writes.delete_tag("one", 2, "absent")
    writes.set_alias("one", PRODUCTION, 1)
    writes.set_alias("one", PRODUCTION, 2)
    writes.delete_alias("one", STAGING)
    writes.delete_alias("one", "absent")


def test_rows_are_those_that_mlflow_writes(home):
    registry = Registry(home)
    before = rows(home)
    change(ClientWrites(lambda: registry._client))
    expected = rows(home)
    assert expected != before
    direct = SqliteWrites(home / "mlflow.db")
    direct.delete_tag("one", 1, "archived")
    direct.delete_alias("one", PRODUCTION)
    direct.set_alias("one", STAGING, 2)
    assert rows(home) == before
    change(direct)
    assert rows(home) == expected
    assert registry.get_version("one", "production").registry_version == 2


def test_a_version_that_does_not_exist_is_not_tagged(home):
    with pytest.raises(sqlite3.IntegrityError):
        SqliteWrites(home / "mlflow.db").set_tag("one", 9, "archived", "true")
    with pytest.raises(RegistryError, match="no version 9"):
        Registry(home).archive("one", 9)


def test_archiving_does_not_import_mlflow(home):
    code = (
        "import sys; from pathlib import Path; from divisions.registry import Registry;"
        f"r = Registry(Path({str(home)!r})); r.archive('one', 1); r.set_production('one', 2); r.unarchive('one', 1);"
        "print([n for n in sys.modules if n.partition('.')[0] in ('mlflow', 'sqlalchemy')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False)
    assert done.stdout == "[]\n", done.stderr
    assert Registry(home).get_version("one", "production").registry_version == 2
    assert Registry(home).get_version("one", "staging").registry_version == 1
