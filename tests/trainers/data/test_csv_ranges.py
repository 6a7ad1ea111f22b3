"""Ranges of bytes of a CSV file: each line is in one of them, the one where it begins."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow.fs import LocalFileSystem

from trainers.data import csv_ranges
from trainers.data.csv_ranges import ByteRange, can_be_cut, copy_range
from trainers.data.csv_rows import open_csv
from trainers.data.file_formats import inspect_file

HEADER = b"a,b\n"


def opened(path):
    return open_csv(inspect_file(LocalFileSystem(), str(path)))


@given(
    mark=st.sampled_from([b"", b"\xef\xbb\xbf"]),
    lines=st.lists(st.integers(0, 12).map(lambda size: b"x" * size + b","), max_size=9),
    has_end=st.booleans(),
    cuts=st.lists(st.integers(0, 120), max_size=6),
    chunk=st.integers(1, 7),
)
def test_each_line_is_copied_once_in_order(tmp_path_factory, mark, lines, has_end, cuts, chunk):
    folder = tmp_path_factory.mktemp("ranges")
    content = mark + HEADER + b"\n".join(lines) + (b"\n" if has_end and lines else b"")
    path = folder / "a.csv"
    path.write_bytes(content)
    places = sorted({0, len(content), *(cut for cut in cuts if cut < len(content))})
    found = b""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_ranges, "_COPY_BYTES", chunk)
        patch.setattr(csv_ranges, "_LINE_BYTES", chunk)
        for first, end in itertools.pairwise(places):
            copy = copy_range(LocalFileSystem(), opened(path), ByteRange(first, end), folder / "copy.csv")
            copied = (folder / "copy.csv").read_bytes()
            assert copied.startswith(mark + HEADER)
            assert copy.file.path == str(folder / "copy.csv")
            rows = copied.removeprefix(mark + HEADER)
            assert not rows or not found or found.endswith(b"\n")
            found += rows
    assert found == content.removeprefix(mark + HEADER)


@pytest.mark.parametrize(
    ("text", "is_cut"),
    [
        (b"a,b\n1,2\n", True),
        (b"a,b", False),
        (b'"a\nc",b\n1,2\n', False),
        (b"a\n1\n", False),
        (b"sep=;\na;b\n1;2\n", False),
        (b'a,b\n"x\\"y",2\n', False),
    ],
)
def test_only_what_begins_like_a_plain_file_is_cut(tmp_path, text, is_cut):
    (tmp_path / "a.csv").write_bytes(text)
    assert can_be_cut(opened(tmp_path / "a.csv")) is is_cut
