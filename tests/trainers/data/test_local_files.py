"""What lies below a folder: files, links and things that are neither."""

import os

import pytest

from divisions.errors import InputError, RefusedInputError, UnreachableInputError
from divisions.settings import S3Settings
from trainers.data.local_files import refuse_special, walk
from trainers.data.locations import list_files, locate, raise_unreachable


def location_of(path):
    return locate(str(path), s3=S3Settings(), allow_buckets=())


def test_hidden_names_are_no_data_wherever_they_lie(tmp_path):
    for name in ("a.csv", "sub/b.csv", "_SUCCESS", ".a.csv.crc", "_temporary/c.csv", "sub/.d.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    listing = walk(str(tmp_path))
    assert listing.files == [f"{tmp_path}/a.csv", f"{tmp_path}/sub/b.csv"]
    assert listing.notes == []


def test_a_linked_folder_is_read_once_and_under_its_own_name(tmp_path):
    (tmp_path / "region=eu").mkdir()
    (tmp_path / "region=eu" / "a.csv").touch()
    (tmp_path / "alias").symlink_to("region=eu")
    listing = walk(str(tmp_path))
    assert listing.files == [f"{tmp_path}/region=eu/a.csv"]
    assert listing.notes == [f"{tmp_path}/alias is a link to what is read anyway: it is left out"]


def test_links_that_lead_round_in_circles_end(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.csv").touch()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "b.csv").touch()
    (tmp_path / "out" / "back").symlink_to(tmp_path / "out")
    (tmp_path / "in" / "away").symlink_to(tmp_path / "out")
    (tmp_path / "in" / "self").symlink_to("self")
    listing = walk(str(tmp_path / "in"))
    assert listing.files == [f"{tmp_path}/in/a.csv", f"{tmp_path}/in/away/b.csv"]
    assert listing.notes == [
        f"{tmp_path}/in/self is a link that leads nowhere: it is left out",
        f"{tmp_path}/in/away/back is a link to what is read anyway: it is left out",
    ]


def test_an_input_that_is_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "p.csv")
    with pytest.raises(InputError, match=r"p\.csv is a named pipe.*write the data to a file"):
        list_files(location_of(tmp_path / "p.csv"))
    with pytest.raises(InputError, match="is a device"):
        refuse_special("/dev/null")
    refuse_special(str(tmp_path / "absent"))


def test_a_folder_of_nothing_but_links_says_what_was_left_out(tmp_path):
    (tmp_path / "a.csv").symlink_to("nowhere")
    with pytest.raises(InputError, match=r"holds no files.*a\.csv is a link that leads nowhere"):
        list_files(location_of(tmp_path))


def test_a_file_that_vanishes_or_may_not_be_read_is_named(tmp_path):
    location = location_of(tmp_path)
    with pytest.raises(UnreachableInputError, match=r"b\.csv of input .* vanished.*wait until the job"):
        raise_unreachable(location, FileNotFoundError(2, "Failed to open local file", f"{tmp_path}/b.csv"))
    with pytest.raises(RefusedInputError, match=r"b\.csv of input .* refuses us.*permissions of the files"):
        raise_unreachable(location, PermissionError(13, "Failed to open local file", f"{tmp_path}/b.csv"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read_is_refused_by_name(tmp_path):
    (tmp_path / "sub").mkdir(mode=0)
    with pytest.raises(RefusedInputError, match=r"sub of input .* refuses us"):
        list_files(location_of(tmp_path))
