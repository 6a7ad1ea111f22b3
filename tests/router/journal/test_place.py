"""Whether a home has a journal, or had one."""

import pytest

from router.journal.place import COPIES, NAME, is_begun


def test_a_new_home_has_none(tmp_path):
    assert not is_begun(tmp_path / NAME)
    (tmp_path / COPIES).mkdir()
    assert not is_begun(tmp_path / NAME)


@pytest.mark.parametrize("trace", [NAME, "journal.head", f"{COPIES}/journal-1.db"])
def test_each_trace_of_one_counts(tmp_path, trace):
    path = tmp_path / trace
    path.parent.mkdir(exist_ok=True)
    path.touch()
    assert is_begun(tmp_path / NAME)
