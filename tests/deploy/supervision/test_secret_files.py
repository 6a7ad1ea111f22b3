import re
import stat
from fnmatch import fnmatch
from pathlib import Path

import pytest

from deploy.supervision.secret_files import CONTENTS, TOKENS, create_private_folder, create_tokens, make_private
from divisions.errors import ClusterError


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_only_their_owner_can_read_home_and_tokens(tmp_path):
    home = tmp_path / "home"
    create_private_folder(home)
    create_tokens(home)
    assert mode(home) == 0o700
    assert {mode(home / name) for name in TOKENS} == {0o600}
    assert len({(home / name).read_text() for name in TOKENS}) == len(TOKENS)


def test_existing_tokens_are_kept_and_lose_the_rights_of_others(tmp_path):
    create_tokens(tmp_path)
    before = (tmp_path / "token").read_text()
    (tmp_path / "token").chmod(0o644)
    create_tokens(tmp_path)
    assert (tmp_path / "token").read_text() == before
    assert mode(tmp_path / "token") == 0o600


def test_a_link_instead_of_the_folder_is_refused(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ClusterError, match="belongs to another user"):
        create_private_folder(tmp_path / "link")


def test_a_file_instead_of_the_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ClusterError, match="cannot be made"):
        create_private_folder(tmp_path / "file")


@pytest.mark.parametrize("name", [pattern.replace("*", "x") for pattern in CONTENTS])
def test_what_a_home_contains_is_closed_to_others_and_keeps_the_rights_of_its_owner(tmp_path, name):
    folder = tmp_path / name / "churn"
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(b"")
    for path, rights in ((tmp_path / name, 0o777), (folder, 0o755), (folder / "model.onnx", 0o444)):
        path.chmod(rights)
    make_private(tmp_path)
    assert [mode(path) for path in (tmp_path / name, folder, folder / "model.onnx")] == [0o700, 0o700, 0o400]


def test_other_files_of_the_folder_and_what_links_name_are_left_alone(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o755)
    (elsewhere / "file").write_text("")
    home = tmp_path / "home"
    (home / "logs").mkdir(parents=True)
    (home / "thesis.txt").write_text("")
    (home / "logs" / "link").symlink_to(elsewhere / "file")
    (home / "bundles").symlink_to(elsewhere)
    before = [mode(path) for path in (elsewhere, elsewhere / "file", home / "thesis.txt")]
    make_private(home)
    assert [mode(path) for path in (elsewhere, elsewhere / "file", home / "thesis.txt")] == before
    assert mode(home / "logs") == 0o700


def test_every_entry_of_the_home_that_the_page_of_settings_names_is_private():
    page = (Path(__file__).parents[3] / "docs" / "settings.md").read_text()
    table = page[page.index("## The home folder") :]
    entries = [
        name.rstrip("/")
        for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
        for name in re.findall(r"`([^`]+)`", row)
    ]
    assert {"journal.db", "bundles", "token"} <= set(entries)
    for entry in entries:
        assert entry in TOKENS or any(fnmatch(entry, pattern) for pattern in CONTENTS), entry
