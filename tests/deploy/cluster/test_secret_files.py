import stat

import pytest

from deploy.cluster.secret_files import TOKENS, create_private_folder, create_tokens
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
