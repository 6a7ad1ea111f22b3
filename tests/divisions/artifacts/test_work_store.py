"""Where files of unfinished runs are kept."""

import pytest

from divisions.artifacts.work_store import open_work_store
from divisions.settings import Settings


@pytest.mark.parametrize(
    ("artifacts", "is_shared"),
    [("", False), ("oci://registry.example/models", False), ("/shared", True), ("s3://bucket/models", True)],
)
def test_unfinished_runs_are_shared_where_files_can_be_changed(tmp_path, artifacts, is_shared):
    """An artifact of a registry cannot be changed or removed by everybody who may push."""
    store = open_work_store(Settings(home=tmp_path, artifacts=artifacts))
    assert store.is_shared is is_shared
    assert store.name == (artifacts if is_shared else str(tmp_path / "training"))
