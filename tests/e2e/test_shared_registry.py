"""The registry in a PostgreSQL that machines share: it holds addresses, never a path of somebody's disk."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from divisions.artifacts.cache import Bundles
from divisions.bundle import ONNX, Manifest, bundle_address, file_sha256, write_manifest
from divisions.registry import Registry
from divisions.schema import Feature, FeatureKind, FeatureSchema
from divisions.settings import Settings
from divisions.versions import ValidationStatus

pytestmark = pytest.mark.e2e
ROOT = Path(__file__).parents[2]
SCHEMA = FeatureSchema((Feature("minutes", FeatureKind.NUMERIC),))


class Machine:
    """A home on a disk of its own, with the shared database and the shared store."""

    def __init__(self, home: Path, database: str, store: Path) -> None:
        self.settings = Settings(home=home, tracking_uri=database, artifacts=str(store))
        self.bundles = Bundles.of(self.settings)
        self.registry = Registry(home, database, artifacts=str(store))

    def make(self, model: bytes) -> tuple[Path, str]:
        draft = self.settings.home / "bundles" / "churn-predictor" / "draft"
        draft.mkdir(parents=True)
        (draft / ONNX).write_bytes(model)
        manifest = Manifest("churn-predictor", "p", "r", "", SCHEMA, {}, {ONNX: file_sha256(draft / ONNX)})
        sha256 = write_manifest(draft, manifest)
        return draft.rename(draft.parent.parent / bundle_address("churn-predictor", sha256)), sha256

    def register(self, model: bytes):
        folder, sha256 = self.make(model)
        self.bundles.publish(folder, sha256)
        with self.registry.start_run("customer-churn", "a run", {}) as run:
            run.log_metrics({"auc": 0.9})
            return self.registry.register(
                run,
                model="churn-predictor",
                major=3,
                bundle_path=folder,
                bundle_sha256=sha256,
                metrics={"auc": 0.9},
                status=ValidationStatus.PASSED,
            )


@pytest.fixture(scope="module")
def database(postgres_server) -> str:
    return postgres_server.new_database()


def texts(database: str) -> list[str]:
    """Every value of every column with text."""
    found = []
    with psycopg.connect(database.replace("+psycopg", "")) as connection:
        columns = connection.execute(
            "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public'"
            " AND data_type IN ('text', 'character varying')"
        ).fetchall()
        for table, column in columns:
            found += [str(value) for (value,) in connection.execute(f'SELECT "{column}" FROM "{table}"') if value]
    return found


def test_a_version_of_one_machine_is_found_opened_and_promoted_by_another(tmp_path, database):
    one = Machine(tmp_path / "one", database, tmp_path / "shared")
    other = Machine(tmp_path / "two", database, tmp_path / "shared")
    version = one.register(b"graph")
    found = other.registry.get_version("churn-predictor", "staging")
    assert found == version
    folder, _ = other.bundles.open(found.bundle_path, found.bundle_sha256)
    assert (folder / ONNX).read_bytes() == b"graph"
    assert folder.is_relative_to(tmp_path / "two")
    other.registry.set_production("churn-predictor", version.version)
    assert one.registry.get_version("churn-predictor", "production").registry_version == version.registry_version
    assert other.registry.get_run(version.run_id).metrics == {"auc": 0.9}

    source = one.registry._client.get_model_version("churn-predictor", "1").source
    assert source == f"{(tmp_path / 'shared').as_uri()}/{found.bundle_path}"
    homes = (str(tmp_path / "one"), str(tmp_path / "two"))
    assert [text for text in texts(database) if any(home in text for home in homes)] == []
    # MLflow's own experiment, which nothing uses, has the folder in which the first client was started.
    assert [text for text in texts(database) if "mlruns" in text] == [f"{Path.cwd()}/mlruns/0"]
    assert not (tmp_path / "one" / "mlartifacts").exists()


def test_machines_that_begin_together_create_the_tables_once(tmp_path, postgres_server):
    empty = postgres_server.new_database()
    code = (
        "import sys; from pathlib import Path; from divisions.registry import Registry;"
        "r = Registry(Path(sys.argv[1]), sys.argv[2], artifacts=sys.argv[3]); r.start_run('churn', 'a run', {})"
    )

    def start(name: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", code, str(tmp_path / name), empty, str(tmp_path / "shared")]
        return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, cwd=ROOT)

    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(start, ("one", "two")))
    assert [each.returncode for each in done] == [0, 0], [each.stderr[-2000:] for each in done]
