"""Versions that plain MLflow has registered: seen, archived, and refused where a bundle is needed."""

import json

import pytest

from divisions import cli
from divisions.errors import RegistryError
from divisions.foreign_models import find_foreign, foreign_versions
from divisions.registry import Registry
from divisions.registry_reads import ClientReads

MLMODEL = """\
flavors:
  python_function: {loader_module: mlflow.tensorflow}
  tensorflow: {data: data}
model_size_bytes: 12345678
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A home whose registry has a TensorFlow model, and one whose files and run are gone."""
    home = tmp_path_factory.mktemp("home")
    registry = Registry(home)
    files = home / "their model"
    files.mkdir()
    (files / "MLmodel").write_text(MLMODEL)
    with registry.start_run("theirs", "a run", {}) as run:
        run.log_metrics({"auc": 0.875})
    client = registry._client
    client.create_registered_model("sentiment-analyzer")
    client.create_model_version("sentiment-analyzer", files.as_uri(), run.run_id)
    client.set_registered_model_alias("sentiment-analyzer", "best", "1")
    client.create_registered_model("gone")
    client.create_model_version("gone", (home / "nowhere").as_uri(), None)
    return home


@pytest.fixture
def registry(home):
    return Registry(home)


def test_what_mlflow_says_of_it_is_known(registry):
    gone, found = foreign_versions(registry)
    assert (found.model, found.version, found.framework, found.size_bytes) == (
        "sentiment-analyzer", 1, "TensorFlow", 12_345_678,
    )  # fmt: skip
    assert (found.metrics, found.aliases) == ({"auc": 0.875}, ("best",))
    assert (gone.framework, gone.size_bytes, gone.metrics) == ("", 0, {})
    assert registry.list_versions() == [], "none of ours"
    assert sorted(ClientReads(registry._client).versions(None), key=str) == sorted(registry.records(), key=str)


@pytest.mark.parametrize("name", ["1", "best", "models:/sentiment-analyzer/1", "models:/sentiment-analyzer@best"])
def test_it_is_found_by_number_and_alias_and_has_nothing_to_serve(registry, name):
    assert find_foreign(registry, "sentiment-analyzer", name).version == 1
    with pytest.raises(RegistryError, match="another tool") as refused:
        registry.get_version("sentiment-analyzer", name)
    assert "models import models:/sentiment-analyzer/1 " in refused.value.remedy


def test_what_does_not_exist_is_nobodys(registry):
    assert find_foreign(registry, "sentiment-analyzer", "2") is None
    with pytest.raises(RegistryError, match="has no version 2"):
        registry.get_version("sentiment-analyzer", "2")


@pytest.mark.parametrize("text", ["", "flavors: 3", "[", "flavors: {}\nmodel_size_bytes: much", "- 1"])
def test_a_file_that_makes_no_sense_tells_nothing(registry, home, text):
    path = home / "their model" / "MLmodel"
    try:
        path.write_text(text)
        found = find_foreign(registry, "sentiment-analyzer", "1")
        assert (found.framework, found.size_bytes) == ("", 0)
    finally:
        path.write_text(MLMODEL)


def test_the_commands_list_show_archive_and_unarchive_it(home, monkeypatch, capsys):
    monkeypatch.setenv("DIVISIONS_HOME", str(home))
    assert cli.execute(["models", "list"]) == 0
    told = capsys.readouterr().out
    (row,) = (line.split() for line in told.splitlines() if line.startswith("sentiment-analyzer"))
    assert row[1:6] == ["1", "best", "-", "TensorFlow", "12.3MB"]
    assert "2 models, 2 versions, 0 pending" in told
    assert "2 of other tools" in told
    assert cli.execute(["models", "archive", "sentiment-analyzer", "1"]) == 0
    assert "best, archived" in capsys.readouterr().out
    for _ in range(2):
        assert cli.execute(["models", "unarchive", "sentiment-analyzer", "best", "-o", "json"]) == 0
        assert json.loads(capsys.readouterr().out)["is_archived"] is False
    assert cli.execute(["models", "show", "sentiment-analyzer", "1"]) == 0
    assert "another tool has registered it" in capsys.readouterr().out
