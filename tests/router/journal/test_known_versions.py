"""Whoever tidies asks the journal what is in use; if it cannot be read, nobody knows."""

import pytest

from divisions.control import VersionSpec
from divisions.errors import ClusterError
from divisions.schema import FeatureSchema
from divisions.settings import Settings
from router.journal.journal import Journal
from router.journal.known_versions import known_versions
from router.journal.place import NAME
from router.journal.sqlite import SqliteDatabase


def spec(version):
    return VersionSpec("churn-predictor", version, f"churn-predictor/{version}", "0" * 64, FeatureSchema(()))


def test_every_version_that_was_deployed_is_known_while_a_controller_writes(tmp_path):
    settings = Settings(home=tmp_path)
    assert known_versions(settings) == set()
    journal = Journal(SqliteDatabase(tmp_path / NAME, is_synchronous=False))
    journal.save_version("churn", spec("3.1"))
    journal.save_version("other", spec("3.2"))
    assert known_versions(settings) == {("churn-predictor", "3.1"), ("churn-predictor", "3.2")}
    journal.close()


@pytest.mark.parametrize("name", [NAME, "journal.head"])
def test_a_journal_that_is_damaged_or_gone_is_an_error(tmp_path, name):
    (tmp_path / name).write_bytes(b"not a database, not at all")
    with pytest.raises(ClusterError, match="nobody knows what is in use"):
        known_versions(Settings(home=tmp_path))
