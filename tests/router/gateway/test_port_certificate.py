"""The certificate in force: it follows its files, and no fault of them takes it away."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from divisions.certificates.pinned import SERVED
from divisions.errors import SettingsError
from router.gateway.port_certificate import PortCertificate
from tests.port_certificates import write_pair


def followed(tmp_path, **changes) -> tuple[PortCertificate, tuple[str, str]]:
    paths = write_pair(tmp_path, **changes)
    return PortCertificate(paths, tmp_path, time.time), paths


def noted(tmp_path) -> list[str]:
    return (tmp_path / SERVED).read_text().split("-----BEGIN CERTIFICATE-----")[1:]


def test_a_new_pair_comes_into_force_and_is_noted_before_the_old_one(tmp_path, caplog):
    caplog.set_level("INFO")
    certificate, paths = followed(tmp_path)
    before = certificate.context()
    certificate.look()
    assert certificate.context() is before
    write_pair(tmp_path, ends=90)
    certificate.look()
    assert certificate.context() is not before
    assert certificate.health().end_s == pytest.approx(time.time() + 90 * 86_400, abs=60)
    assert not certificate.health().is_refusing
    assert f"a new certificate is in force, from {paths[0]}" in caplog.text
    assert len(noted(tmp_path)) == 2
    assert noted(tmp_path)[0] in Path(paths[0]).read_text()


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("expired", "has expired at"),
        ("mismatch", "does not belong to the first certificate"),
        ("gone", "cannot be read: No such file"),
        ("open", "others can read or change"),
        ("encrypted", "is encrypted"),
        ("half", "cannot be used"),
    ],
)
def test_a_pair_that_cannot_be_used_changes_nothing_is_told_once_and_mended(tmp_path, caplog, fault, told):
    certificate, (crt, key) = followed(tmp_path)
    before = certificate.context()
    match fault:
        case "expired":
            write_pair(tmp_path, begins=-3, ends=-1)
        case "mismatch":
            Path(crt).write_bytes(Path(write_pair(tmp_path, "other")[0]).read_bytes())
        case "gone":
            Path(key).unlink()
        case "open":
            Path(key).chmod(0o644)
        case "encrypted":
            write_pair(tmp_path, passphrase=b"x" * 8)
        case "half":
            lines = Path(crt).read_text().splitlines()
            Path(crt).write_text("\n".join([*lines[:3], lines[-1]]))
    certificate.look()
    assert not caplog.records  # perhaps the other file is about to follow
    assert not certificate.health().is_refusing
    for _ in range(3):
        certificate.look()
    assert certificate.context() is before
    (record,) = caplog.records
    assert "the certificate in force stays, because the new one cannot be used: " in record.getMessage()
    assert told in record.getMessage()
    assert certificate.health().is_refusing
    assert len(noted(tmp_path)) == 1
    Path(key).unlink(missing_ok=True)
    write_pair(tmp_path)
    certificate.look()
    assert certificate.context() is not before


def test_the_old_pair_put_back_after_a_refusal_is_told_once(tmp_path, caplog):
    caplog.set_level("INFO")
    certificate, (_, key) = followed(tmp_path)
    Path(key).chmod(0o644)
    certificate.look()
    certificate.look()
    assert certificate.health().is_refusing
    Path(key).chmod(0o600)
    certificate.look()
    certificate.look()
    assert not certificate.health().is_refusing
    refusal, mend = (record.getMessage() for record in caplog.records)
    assert "others can read or change" in refusal
    assert mend == "the files have the certificate in force again, and can be used"


def test_a_pair_whose_files_change_one_after_the_other_is_never_told(tmp_path, caplog):
    certificate, (crt, key) = followed(tmp_path)
    new_crt, new_key = write_pair(tmp_path, "new")
    Path(crt).write_bytes(Path(new_crt).read_bytes())
    certificate.look()
    Path(key).write_bytes(Path(new_key).read_bytes())
    certificate.look()
    assert not caplog.records
    assert noted(tmp_path)[0] in Path(new_crt).read_text()


def test_kubernetes_changes_both_by_one_link(tmp_path):
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        write_pair(tmp_path / name, "tls")
    (tmp_path / "data").symlink_to("first")
    paths = (str(tmp_path / "data" / "tls.crt"), str(tmp_path / "data" / "tls.key"))
    certificate = PortCertificate(paths, tmp_path, time.time)
    before = certificate.context()
    (tmp_path / "next").symlink_to("second")
    (tmp_path / "next").replace(tmp_path / "data")
    certificate.look()
    assert certificate.context() is not before


def test_an_expired_certificate_is_better_than_no_port_and_one_that_cannot_be_used_is_not(tmp_path, caplog):
    followed(tmp_path, begins=-3, ends=-1)
    assert "has expired at" in caplog.text
    with pytest.raises(SettingsError, match="is encrypted"):
        followed(tmp_path, passphrase=b"x" * 8)


def test_a_home_that_is_full_costs_only_the_note(tmp_path, caplog, monkeypatch):
    def full(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("router.gateway.port_certificate.write_private", full)
    certificate, _ = followed(tmp_path)
    assert certificate.context()
    assert "its certificate cannot be noted" in caplog.text
