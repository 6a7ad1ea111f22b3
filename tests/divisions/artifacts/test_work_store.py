"""Where files of unfinished runs are kept."""

import hashlib

import pytest

from divisions.artifacts.work_store import open_work_store
from divisions.errors import ArtifactStoreError
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


@pytest.fixture(params=["", "shared"])
def store(request, tmp_path):
    artifacts = str(tmp_path / request.param) if request.param else ""
    return open_work_store(Settings(home=tmp_path / "home", artifacts=artifacts))


FOLDER = "churn/1"


def test_what_is_put_is_listed_read_and_fetched(store, tmp_path):
    (tmp_path / "rows").write_bytes(b"r" * 100_000)
    store.put(FOLDER, "a", b"one")
    store.put(FOLDER, "b", tmp_path / "rows")
    store.put(f"{FOLDER}/deeper", "c", b"")
    found = sorted(store.listed(FOLDER), key=lambda one: one.path)
    assert [(one.path, one.num_bytes) for one in found] == [("a", 3), ("b", 100_000), ("deeper/c", 0)]
    now_s = (tmp_path / "rows").stat().st_mtime
    assert all(abs(one.written_s - now_s) < 60 for one in found)
    assert store.read(FOLDER, "a") == b"one"
    assert store.fetch(FOLDER, "b", tmp_path / "copy") == hashlib.sha256(b"r" * 100_000).hexdigest()
    assert (tmp_path / "copy").read_bytes() == b"r" * 100_000


def test_a_file_that_is_there_is_replaced(store):
    store.put(FOLDER, "a", b"one")
    store.put(FOLDER, "a", b"two")
    assert (store.read(FOLDER, "a"), len(store.listed(FOLDER))) == (b"two", 1)


def test_what_is_not_there_is_no_error(store, tmp_path):
    assert store.listed(FOLDER) == []
    assert store.read(FOLDER, "a") is None
    assert store.fetch(FOLDER, "a", tmp_path / "copy") == ""
    assert not (tmp_path / "copy").exists()
    store.remove_folder(FOLDER)
    store.put(FOLDER, "b", b"")
    store.put(FOLDER, "c", b"")
    store.remove(FOLDER, ["a", "b"])
    assert [one.path for one in store.listed(FOLDER)] == ["c"]
    store.remove_folder(FOLDER)
    assert store.listed(FOLDER) == []


def test_only_the_homes_own_folder_has_paths_of_this_machine(store):
    store.put(FOLDER, "a", b"one")
    path = store.local_path(FOLDER, "a")
    assert path is None if store.is_shared else path.read_bytes() == b"one"


def test_a_store_that_refuses_is_named(store, tmp_path):
    base = tmp_path / "shared" if store.is_shared else tmp_path / "home" / "training"
    (base / "_runs").mkdir(parents=True)
    (base / "_runs" / "file").write_text("in the way")
    (base / "_runs" / "folder" / "a").mkdir(parents=True)
    asks = [
        lambda: store.put("file", "a", b""),
        lambda: store.put("folder", "a", b""),
        lambda: store.remove("folder", ["a"]),
        lambda: store.remove_folder("file"),
    ]
    for ask in asks:
        with pytest.raises(ArtifactStoreError, match=f"the artifact store {store.name} does not answer, or refuses: "):
            ask()
    assert [path.name for path in (base / "_runs" / "folder").iterdir()] == ["a"], "no draft is left"
