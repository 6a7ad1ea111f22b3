"""Reads without MLflow equal reads through its client; searches ask for all pages."""

import sqlite3
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from divisions.artifacts.release_folder import ReleaseFile, remember_release
from divisions.errors import RegistryError
from divisions.registry import Registry
from divisions.registry_reads import ClientReads, SqliteReads
from divisions.versions import ValidationStatus
from tests.builders import bundle_to_register


class Page(list):
    token = None


class FakeClient:
    """A tracking server with many models; a page has ``page_size`` results."""

    def __init__(self, num_models, num_versions=1, page_size=100):
        self.page_size, self.calls = page_size, []
        tags = {"divisions.bundle_sha256": "b0", "divisions.version": "3.1", "validation_status": "passed"}
        self.models = {
            f"model-{number:03}": [
                SimpleNamespace(
                    name=f"model-{number:03}", version=str(i + 1), run_id="r", creation_timestamp=1000, tags=tags
                )
                for i in range(num_versions)
            ]
            for number in range(num_models)
        }

    def _page(self, results, token):
        begin = int(token or 0)
        page = Page(results[begin : begin + self.page_size])
        page.token = str(begin + self.page_size) if begin + self.page_size < len(results) else None
        return page

    def _registered(self, name):
        return SimpleNamespace(name=name, aliases={"production": "1"})

    def search_registered_models(self, page_token=None):
        self.calls.append("search_registered_models")
        return self._page([self._registered(name) for name in self.models], page_token)

    def search_model_versions(self, filter_string="", page_token=None):
        self.calls.append("search_model_versions")
        if not filter_string:
            return self._page([version for versions in self.models.values() for version in versions], page_token)
        name = filter_string.removeprefix("name=")[1:-1]
        assert filter_string.count(filter_string[5]) == 2
        return self._page(self.models[name], page_token)

    def get_registered_model(self, name):
        from mlflow.exceptions import RESOURCE_DOES_NOT_EXIST, MlflowException

        if name not in self.models:
            raise MlflowException("no such model", error_code=RESOURCE_DOES_NOT_EXIST)
        return self._registered(name)


def test_a_model_beyond_the_first_page_is_asked_for_by_name():
    client = FakeClient(250)
    (version,) = ClientReads(client).versions("model-249")
    assert (version.name, version.version, version.aliases) == ("model-249", 1, ("production",))
    assert client.calls == ["search_model_versions"], "the models are not searched"
    assert ClientReads(client).versions("absent") == []


def test_all_pages_are_listed():
    client = FakeClient(250)
    listed = ClientReads(client).versions(None)
    assert [one.name for one in listed] == sorted(client.models)
    assert {one.aliases for one in listed} == {("production",)}
    assert len(client.calls) == 6, "a request per page, not one per model"
    many = FakeClient(1, num_versions=7, page_size=3)
    assert [one.version for one in ClientReads(many).versions("model-000")] == [1, 2, 3, 4, 5, 6, 7]
    assert [bool(one.aliases) for one in ClientReads(many).versions("model-000")] == [True] + [False] * 6


def test_a_model_of_another_tool_with_a_quote_in_its_name_does_not_break_the_list():
    client = FakeClient(1)
    (version,) = client.models["model-000"]
    client.models["Anna's model"] = [SimpleNamespace(**{**vars(version), "name": "Anna's model"})]
    assert [one.name for one in ClientReads(client).versions(None)] == ["model-000", "Anna's model"]
    assert [one.name for one in ClientReads(client).versions("Anna's model")] == ["Anna's model"]


def test_a_model_that_comes_between_the_two_searches_has_no_alias_yet():
    client = FakeClient(2)
    client.search_registered_models = lambda page_token=None: client._page([client._registered("model-000")], None)
    assert [one.aliases for one in ClientReads(client).versions(None)] == [("production",), ()]


def test_an_error_other_than_absence_is_passed_on():
    from mlflow.exceptions import MlflowException

    client = FakeClient(1)
    client.get_registered_model = lambda name: (_ for _ in ()).throw(MlflowException("down"))
    with pytest.raises(MlflowException, match="down"):
        ClientReads(client).versions("model-000")


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    home = tmp_path_factory.mktemp("home")
    bundle = bundle_to_register(home / "a-bundle")
    registry = Registry(home)
    for model, status in (("one", "passed"), ("one", "failed"), ("one", "passed"), ("two", "passed")):
        with registry.start_run("pipeline", "a run", {}) as run:
            run.log_params({"epochs": 3})
            for epoch, loss in enumerate((0.5, 0.3, 0.3), start=1):
                run.log_metrics({"valid_loss": loss}, step=epoch)
            registry.register(
                run,
                model=model,
                major=3,
                bundle_path=bundle,
                bundle_sha256="b0",
                metrics={"auc": 0.9},
                status=ValidationStatus(status),
                message="why" if status == "failed" else "",
                lineage={"partition": "2025-01-13"},
            )
    registry.set_production("one", "3.1")
    registry._client.delete_model_version("two", "1")
    return home


def test_reads_without_mlflow_equal_those_of_its_client(home):
    client, direct = ClientReads(Registry(home)._client), SqliteReads(home / "mlflow.db")

    def sort(records):
        return sorted(records, key=lambda one: (one.name, one.version))

    for model in (None, "one", "two", "absent"):
        assert sort(direct.versions(model)) == sort(client.versions(model))
    assert len(direct.versions(None)) == 3
    run_id = direct.versions("one")[0].run_id
    assert direct.run(run_id) == client.run(run_id)
    assert direct.metric_history(run_id, "valid_loss") == [(1, 0.5), (2, 0.3), (3, 0.3)]
    assert client.metric_history(run_id, "valid_loss") == direct.metric_history(run_id, "valid_loss")


def test_runs_without_mlflow_equal_those_of_its_client(home):
    client, direct = ClientReads(Registry(home)._client), SqliteReads(home / "mlflow.db")
    runs = direct.runs(None, 10)
    assert len(runs) == 4
    assert [run.started_at_s for run in runs] == sorted((run.started_at_s for run in runs), reverse=True)
    by_id = {run.run_id: run for run in client.runs(None, 10)}
    assert by_id == {run.run_id: run for run in runs}
    assert [len(reads.runs("pipeline", 3)) for reads in (client, direct)] == [3, 3]
    assert [reads.runs("absent", 3) for reads in (client, direct)] == [[], []]
    assert SqliteReads(home / "absent.db").runs(None, 3) == []
    assert client.count_runs() == direct.count_runs()
    assert sum(direct.count_runs().values()) == 4
    assert SqliteReads(home / "absent.db").count_runs() == {}


def test_the_best_epoch_is_the_first_with_the_lowest_loss(home):
    registry = Registry(home)
    assert registry.best_epoch(registry.get_version("one", 1).run_id) == 2
    assert registry.best_epoch("0" * 32) is None


def test_a_process_that_only_reads_does_not_import_mlflow(home):
    code = (
        "import sys; from pathlib import Path; from divisions.registry import Registry\n"
        "registry = Registry(Path(sys.argv[1])); version = registry.get_version('one', 'production')\n"
        "registry.get_run(version.run_id), registry.best_epoch(version.run_id)\n"
        "print(version.version, 'mlflow' in sys.modules, 'pandas' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(home)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["3.1", "False", "False"]


def test_an_unknown_run_is_an_error(home, tmp_path):
    for path in (home / "mlflow.db", tmp_path / "absent.db"):
        with pytest.raises(RegistryError, match="has no run"):
            SqliteReads(path).run("0" * 32)


@pytest.mark.parametrize("content", [None, b""])
def test_a_home_without_a_registry_has_no_versions_and_is_not_written_to(tmp_path, content):
    path = tmp_path / "mlflow.db"
    if content is not None:
        path.write_bytes(content)
    registry = Registry(tmp_path)
    assert registry.list_versions() == []
    assert registry.reference_version("one") is None
    assert path.exists() == (content is not None)


def lost(home):
    (home / "bundles" / "one" / "abc").mkdir(parents=True)
    (home / "bundles" / "one" / "abc" / "manifest.json").write_text("{}")
    return Registry(home)


@pytest.mark.parametrize("content", [None, b""])
def test_an_empty_registry_beside_bundles_was_lost_and_is_refused(tmp_path, content):
    if content is not None:
        (tmp_path / "mlflow.db").write_bytes(content)
    registry = lost(tmp_path)
    calls = (
        registry.list_versions,
        lambda: registry.reference_version("one"),
        lambda: registry.start_run("p", "n", {}),
    )
    for call in calls:
        with pytest.raises(RegistryError, match=r"the registry was lost: .*1 bundles.*backup"):
            call()


def test_a_bundle_that_came_with_an_image_is_no_sign_of_a_lost_registry(tmp_path):
    release = ReleaseFile("one", "3.1", "a" * 64)
    folder = tmp_path / "bundles" / release.address
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text("{}")
    remember_release(tmp_path, release)
    assert Registry(tmp_path).list_versions() == []
    lost(tmp_path)
    with pytest.raises(RegistryError, match="1 bundles"):
        Registry(tmp_path).list_versions()


def test_a_registry_with_tables_but_no_runs_beside_bundles_was_lost(tmp_path):
    with Registry(tmp_path).start_run("pipeline", "a run", {}):
        pass
    assert lost(tmp_path).list_versions() == []  # a run that left a bundle but no version
    with sqlite3.connect(tmp_path / "mlflow.db") as connection:
        connection.execute("DELETE FROM experiments WHERE name != 'Default'")
    with pytest.raises(RegistryError, match="the registry was lost"):
        Registry(tmp_path).list_versions()


def test_a_damaged_registry_is_one_clear_error(tmp_path):
    (tmp_path / "mlflow.db").write_bytes(b"x" * 5_000)
    with pytest.raises(RegistryError, match="could not read its database: file is not a database"):
        Registry(tmp_path).list_versions()
