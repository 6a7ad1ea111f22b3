"""A bundle as one file: the same bytes wherever it is packed, and nothing dangerous when it is unpacked."""

import gzip
import io
import os
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from divisions.artifacts.tarball import tarball_name, unpack_tarball, write_tarball
from divisions.errors import BundleError

FILES = {"manifest.json": b"{}", "model.onnx": bytes(range(256)) * 40, "a": b""}
ROOM = 1_000_000


def folder_of(path, files):
    path.mkdir(parents=True)
    for name, content in files.items():
        (path / name).write_bytes(content)
    return path


def packed(path, *members: tuple[tarfile.TarInfo, bytes]):
    with tarfile.open(path, "w:gz", format=tarfile.PAX_FORMAT) as tar:
        for info, content in members:
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def unpacked(source, folder, room=ROOM):
    folder.mkdir()
    unpack_tarball(source, folder, room)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_times_rights_owners_and_order_change_no_byte(tmp_path):
    one = folder_of(tmp_path / "one", FILES)
    two = folder_of(tmp_path / "two", dict(reversed(FILES.items())))
    for path in two.iterdir():
        os.utime(path, (1, 1))
        path.chmod(0o400)
    sums = {write_tarball(folder, tmp_path / f"{folder.name}.tar.gz") for folder in (one, two)}
    assert len(sums) == 1
    assert (tmp_path / "one.tar.gz").read_bytes() == (tmp_path / "two.tar.gz").read_bytes()
    with tarfile.open(tmp_path / "one.tar.gz") as tar:
        found = tar.getmembers()
    assert [each.name for each in found] == sorted(FILES)
    assert {(each.mtime, each.uid, each.gid, each.uname, each.gname, each.mode) for each in found} == {
        (0, 0, 0, "", "", 0o644)
    }


def test_the_sum_is_that_of_the_tar_without_compression(tmp_path):
    import hashlib

    folder = folder_of(tmp_path / "one", FILES)
    found = write_tarball(folder, tmp_path / "a.tar.gz")
    assert found == hashlib.sha256(gzip.decompress((tmp_path / "a.tar.gz").read_bytes())).hexdigest()


names = st.text("abcABC019._-é ", min_size=1, max_size=40).filter(lambda name: name not in {".", ".."})


@given(st.dictionaries(names, st.binary(max_size=3_000), max_size=6))
def test_what_was_packed_comes_out(tmp_path_factory, files):
    path = tmp_path_factory.mktemp("tar")
    write_tarball(folder_of(path / "in", files), path / "a.tar.gz")
    assert unpacked(path / "a.tar.gz", path / "out") == files


def test_unpacked_files_cannot_be_written(tmp_path):
    write_tarball(folder_of(tmp_path / "in", FILES), tmp_path / "a.tar.gz")
    unpacked(tmp_path / "a.tar.gz", tmp_path / "out")
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "out").iterdir()} == {0o400}


@pytest.mark.parametrize(
    "info",
    [
        member("../slip"),
        member("/etc/slip"),
        member("a/b"),
        member("a\\b"),
        member(".."),
        member("a\nb"),
        member("folder", tarfile.DIRTYPE),
        member("link", tarfile.SYMTYPE, "/etc/passwd"),
        member("hard", tarfile.LNKTYPE, "/etc/passwd"),
        member("device", tarfile.CHRTYPE),
        member("pipe", tarfile.FIFOTYPE),
    ],
    ids=lambda info: repr(info.name),
)
def test_nothing_but_plain_files_with_plain_names_is_unpacked(tmp_path, info):
    source = packed(tmp_path / "a.tar.gz", (member("good"), b"1"), (info, b""))
    with pytest.raises(BundleError, match="which is no plain file of a bundle"):
        unpacked(source, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["good"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tar.gz", "out"]


def test_a_name_that_comes_twice_is_refused(tmp_path):
    source = packed(tmp_path / "a.tar.gz", (member("a"), b"1"), (member("a"), b"2"))
    with pytest.raises(BundleError, match="holds 'a' twice"):
        unpacked(source, tmp_path / "out")
    assert (tmp_path / "out" / "a").read_bytes() == b"1"


def test_a_bomb_is_left_after_what_is_allowed(tmp_path):
    source = packed(tmp_path / "a.tar.gz", (member("zeros"), b"\0" * 200_000_000))
    assert source.stat().st_size < 1_000_000
    with pytest.raises(BundleError, match="unpacks to more than is allowed"):
        unpacked(source, tmp_path / "out", room=1_000_000)
    assert sum(path.stat().st_size for path in (tmp_path / "out").iterdir()) < 4_000_000


def test_too_many_files_are_refused(tmp_path):
    source = packed(tmp_path / "a.tar.gz", *((member(str(number)), b"") for number in range(1_001)))
    with pytest.raises(BundleError, match="over 1000 files"):
        unpacked(source, tmp_path / "out")


@pytest.mark.parametrize("cut", [0, 1, 9, 10, 11, 50, 0.5, 0.9, -1, -4, -8])
def test_a_file_that_is_cut_off_is_told(tmp_path, cut):
    source = tmp_path / "a.tar.gz"
    write_tarball(folder_of(tmp_path / "in", {"x": os.urandom(50_000)}), source)
    whole = source.read_bytes()
    source.write_bytes(whole[: int(cut * len(whole)) if isinstance(cut, float) else cut])
    with pytest.raises(BundleError, match=r"a\.tar\.gz"):
        unpacked(source, tmp_path / "out")


@given(st.binary(max_size=400))
def test_any_bytes_are_unpacked_or_refused(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("tar")
    (path / "a.tar.gz").write_bytes(gzip.compress(data))
    try:
        found = unpacked(path / "a.tar.gz", path / "out")
    except BundleError:
        return
    assert found == {}


def test_a_folder_with_anything_but_files_is_not_packed(tmp_path):
    folder = folder_of(tmp_path / "in", FILES)
    (folder / "link").symlink_to("/etc/passwd")
    with pytest.raises(BundleError, match="link in the bundle is no plain file"):
        write_tarball(folder, tmp_path / "a.tar.gz")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_a_target_that_cannot_be_written_is_told_and_leaves_nothing(tmp_path):
    folder = folder_of(tmp_path / "in", FILES)
    with pytest.raises(BundleError, match=r"cannot be written: No such file"):
        write_tarball(folder, tmp_path / "absent" / "a.tar.gz")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(BundleError, match=r"cannot be written: Not a directory"):
        write_tarball(folder, tmp_path / "file" / "a.tar.gz")
    (tmp_path / "file").unlink()
    (tmp_path / "a.tar.gz").mkdir()
    with pytest.raises(BundleError, match=r"a\.tar\.gz cannot be written"):
        write_tarball(folder, tmp_path / "a.tar.gz")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tar.gz", "in"]


def test_the_file_is_named_by_model_and_version():
    assert tarball_name("churn-predictor", "3.2") == "churn-predictor-v3.2.tar.gz"


def test_what_is_allowed_is_counted_without_the_heads_of_files(tmp_path):
    source = packed(tmp_path / "a.tar.gz", *((member(str(number)), b"x" * 600) for number in range(1_000)))
    assert len(unpacked(source, tmp_path / "out", room=600_000)) == 1_000


def test_all_of_it_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_size))
    write_tarball(folder_of(tmp_path / "in", FILES), tmp_path / "a.tar.gz")
    assert synced == [(tmp_path / "a.tar.gz").stat().st_size]


def test_a_folder_that_takes_no_files_is_told(tmp_path):
    write_tarball(folder_of(tmp_path / "in", FILES), tmp_path / "a.tar.gz")
    with pytest.raises(BundleError, match=r"a\.tar\.gz cannot be unpacked into .*absent: No such file.*disk's space"):
        unpack_tarball(tmp_path / "a.tar.gz", tmp_path / "absent", ROOM)
