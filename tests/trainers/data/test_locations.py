"""Locations: what may be read, what is data, and what is said when nothing is there."""

import socket

import pytest

from divisions.errors import EmptyInputError, ForbiddenInputError, UnreachableInputError
from divisions.settings import S3Settings
from trainers.data.locations import list_files, locate, nearest_names


def find(uri, **options):
    location = locate(str(uri), s3=options.pop("s3", S3Settings()), allow_buckets=options.pop("allow", ()))
    return tuple(list_files(location).files)


@pytest.fixture
def folder(tmp_path):
    partition = tmp_path / "raw" / "partition=2025-01-14"
    (partition / "hour=01").mkdir(parents=True)
    (partition / "_temporary").mkdir()
    for name in ("b.csv", "hour=01/a.csv", "_SUCCESS", ".a.csv.crc", "_temporary/part.csv"):
        (partition / name).write_text("x\n1\n")
    return partition


@pytest.mark.parametrize("form", ["{}", "file://{}", "file://localhost{}", "{}/"])
def test_a_local_folder_is_read_in_every_spelling(folder, form):
    assert find(form.format(folder)) == (f"{folder}/b.csv", f"{folder}/hour=01/a.csv")


def test_a_relative_path_is_one_of_the_working_folder(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    assert find("partition=2025-01-14/b.csv") == (f"{folder}/b.csv",)


def test_escaped_characters_of_a_file_uri_are_read(tmp_path):
    (tmp_path / "a b.csv").write_text("x\n")
    assert find(f"file://{tmp_path}/a%20b.csv") == (f"{tmp_path}/a b.csv",)


def test_a_missing_partition_names_the_nearest_ones(folder):
    with pytest.raises(EmptyInputError, match=r"partition 2025-01-15 holds no files.*partition=2025-01-14"):
        find(folder.parent / "partition=2025-01-15")


def test_a_path_that_does_not_exist_says_so_and_names_what_is_alike(tmp_path):
    for name in ("events.csv", "docs.txt"):
        (tmp_path / name).write_text("x\n")
    with pytest.raises(EmptyInputError, match=r"input 'event\.csv' does not exist: .*existing nearby: events\.csv$"):
        find(tmp_path / "event.csv")
    with pytest.raises(EmptyInputError, match=r"input 'raw' does not exist: .*check the path"):
        find(tmp_path / "raw")


def test_a_folder_of_hidden_files_is_empty(tmp_path):
    (tmp_path / "_SUCCESS").touch()
    with pytest.raises(EmptyInputError, match="holds no files"):
        find(tmp_path)


@pytest.mark.parametrize("uri", ["~nosuchuser/x", "~nosuchuser"])
def test_the_home_folder_of_an_unknown_user_is_one_clear_error(uri):
    with pytest.raises(UnreachableInputError, match="names a user that does not exist") as caught:
        locate(uri, s3=S3Settings(), allow_buckets=())
    assert str(caught.value).count("\n") == 0


def test_a_removed_working_folder_is_one_clear_error(tmp_path, monkeypatch):
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    with pytest.raises(UnreachableInputError, match="a working folder that was removed"):
        locate("data", s3=S3Settings(), allow_buckets=())


def test_a_path_whose_parent_does_not_exist_is_unreachable(tmp_path):
    with pytest.raises(UnreachableInputError, match="does not exist, nor does"):
        find(tmp_path / "no" / "such")


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("http://169.254.169.254/latest", "scheme 'http'"),
        ("gs://bucket/key", "scheme 'gs'"),
        ("file://other/share/x", "another host"),
        ("s3://", "does not name an S3 bucket"),
        ("s3:/bucket/x", "does not name an S3 bucket"),
        ("s3://UPPER/x", "does not name an S3 bucket"),
        ("s3://secret-bucket/x", "not on the allow-list"),
    ],
)
def test_forbidden_inputs_are_refused_before_anything_is_opened(uri, says):
    with pytest.raises(ForbiddenInputError, match=says):
        locate(uri, s3=S3Settings(endpoint_url="http://127.0.0.1:9"), allow_buckets=("raw-events",))


def test_an_unknown_user_is_told_and_a_file_of_such_a_name_is_found(tmp_path, monkeypatch):
    with pytest.raises(UnreachableInputError, match="'~nosuchuser/x' names a user that does not exist"):
        locate("~nosuchuser/x", s3=S3Settings(), allow_buckets=())
    monkeypatch.chdir(tmp_path)
    (tmp_path / "~nosuchuser").mkdir()
    assert locate("~nosuchuser", s3=S3Settings(), allow_buckets=()).path == str(tmp_path / "~nosuchuser")
    monkeypatch.setenv("HOME", "/srv/me")
    assert locate("~/raw", s3=S3Settings(), allow_buckets=()).path == "/srv/me/raw"


def test_credentials_in_a_uri_are_refused_and_not_repeated():
    with pytest.raises(ForbiddenInputError) as caught:
        locate("s3://AKIA:hush@raw-events/x", s3=S3Settings(), allow_buckets=())
    assert "hush" not in str(caught.value)
    assert "AKIA" not in str(caught.value)


def test_an_endpoint_that_refuses_connections_is_one_clear_error():
    with socket.socket() as closed:  # bound, never listening: the port is ours and nobody answers
        closed.bind(("127.0.0.1", 0))
        s3 = S3Settings(endpoint_url=f"http://127.0.0.1:{closed.getsockname()[1]}")
        with pytest.raises(UnreachableInputError) as caught:
            find("s3://raw-events/partition=2025-01-14", s3=s3)
    assert "s3://raw-events/partition=2025-01-14 does not answer" in str(caught.value)
    assert "Details" not in str(caught.value)
    assert "AWS_ENDPOINT_URL_S3" in caught.value.remedy


def test_an_endpoint_that_is_no_url_is_named():
    with pytest.raises(UnreachableInputError, match="'localhost:9000' is not a URL"):
        locate("s3://raw-events/x", s3=S3Settings(endpoint_url="localhost:9000"), allow_buckets=())


def test_a_partition_is_read_off_the_path(folder):
    location = locate(str(folder / "hour=01"), s3=S3Settings(), allow_buckets=())
    assert location.partition == "2025-01-14"
    assert locate("/data/x", s3=S3Settings(), allow_buckets=()).partition == ""


def test_nearest_names_come_first_and_hidden_ones_never():
    names = ["partition=2025-01-13", "partition=2024-01-15", "_tmp", "other"]
    assert nearest_names("partition=2025-01-15", names, 2) == ["partition=2025-01-13", "partition=2024-01-15"]
