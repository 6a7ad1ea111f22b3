"""Where the authority is kept: made once, private, replaced in time."""

from __future__ import annotations

import datetime
import os

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from divisions.certificates.authority import Authority, new_authority
from divisions.certificates.authority_file import obtain_authority, require_same_authority
from divisions.certificates.names import AUTHORITY as NAME
from divisions.errors import SettingsError

NOW_S = 1_800_000_000.0
DAY_S = 86_400.0
TEN_YEARS_S = 10 * 365 * DAY_S


def test_it_is_made_once_and_only_its_owner_reads_it(tmp_path):
    first = obtain_authority(tmp_path, "", NOW_S)
    os.chmod(tmp_path / NAME, 0o644)
    assert obtain_authority(tmp_path, "", NOW_S + 86_400).pem == first.pem
    assert (tmp_path / NAME).stat().st_mode & 0o777 == 0o600
    assert sorted(os.listdir(tmp_path)) == [NAME]


def test_one_that_is_valid_for_less_than_thirty_days_is_replaced(tmp_path):
    first = obtain_authority(tmp_path, "", NOW_S)
    last_s = NOW_S + TEN_YEARS_S - 30 * DAY_S
    assert obtain_authority(tmp_path, "", last_s).pem == first.pem
    assert obtain_authority(tmp_path, "", last_s + 1).pem != first.pem


def test_a_given_one_is_used_and_copied_into_the_home(tmp_path):
    given = new_authority(NOW_S)
    path = tmp_path / "given.pem"
    path.write_bytes(given.pem)
    assert obtain_authority(tmp_path, str(path), NOW_S).pem == given.pem
    assert (tmp_path / NAME).read_bytes() == given.pem
    assert (tmp_path / NAME).stat().st_mode & 0o777 == 0o600
    assert obtain_authority(tmp_path, str(path), NOW_S + TEN_YEARS_S - 1).pem == given.pem
    with pytest.raises(SettingsError, match="expired"):
        obtain_authority(tmp_path, str(path), NOW_S + TEN_YEARS_S)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(SettingsError, match=r"absent.pem cannot be read: No such file.*DIVISIONS_CHANNEL_CA"):
        obtain_authority(tmp_path, str(tmp_path / "absent.pem"), NOW_S)


def test_a_damaged_one_is_no_reason_to_make_another(tmp_path):
    """Replicas that run trust the old one."""
    (tmp_path / NAME).write_bytes(b"half of a k")
    with pytest.raises(SettingsError, match=NAME):
        obtain_authority(tmp_path, "", NOW_S)


def test_a_home_without_room_leaves_nothing_behind(tmp_path):
    with pytest.raises(SettingsError, match="cannot be written"):
        obtain_authority(tmp_path / "absent", "", NOW_S)
    assert os.listdir(tmp_path) == []


def test_a_cluster_that_runs_gets_no_other_authority(tmp_path):
    given, other = tmp_path / "given.pem", tmp_path / "other.pem"
    given.write_bytes(new_authority(NOW_S).pem)
    other.write_bytes(new_authority(NOW_S).pem)
    require_same_authority(tmp_path, str(other))  # it has none yet
    obtain_authority(tmp_path, str(given), NOW_S)
    require_same_authority(tmp_path, "")
    require_same_authority(tmp_path, str(given))
    with pytest.raises(SettingsError, match=r"other\.pem is not the one of the cluster.*`divisions down` first"):
        require_same_authority(tmp_path, str(other))


def test_a_renewed_authority_is_the_same(tmp_path):
    given = tmp_path / "given.pem"
    first = new_authority(NOW_S)
    given.write_bytes(first.pem)
    obtain_authority(tmp_path, str(given), NOW_S)
    key, old = first._key, first._certificate
    renewed = (
        x509.CertificateBuilder(old.issuer, old.subject, old.public_key(), x509.random_serial_number())
        .not_valid_before(old.not_valid_before_utc)
        .not_valid_after(old.not_valid_after_utc + datetime.timedelta(days=365))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    given.write_bytes(Authority(renewed, key).pem)
    require_same_authority(tmp_path, str(given))


def test_all_of_it_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_size))
    authority = obtain_authority(tmp_path, "", NOW_S)
    assert synced == [len(authority.pem)]


def test_a_disk_that_is_full_is_told_and_keeps_what_was_there(tmp_path, monkeypatch):
    before = obtain_authority(tmp_path, "", NOW_S).pem

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SettingsError, match="cannot be written: No space left"):
        obtain_authority(tmp_path, "", NOW_S + TEN_YEARS_S)
    assert (tmp_path / NAME).read_bytes() == before
    assert os.listdir(tmp_path) == [NAME]


def test_a_draft_of_an_earlier_process_with_our_number_is_no_obstacle(tmp_path):
    (tmp_path / f".{NAME}.{os.getpid()}").write_text("half")
    obtain_authority(tmp_path, "", NOW_S)
    assert os.listdir(tmp_path) == [NAME]
