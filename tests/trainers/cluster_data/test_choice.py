"""Whether an input is read over several nodes, and the parts it is cut into."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from divisions.pipeline.definition import Distribution
from trainers.cluster_data.choice import InputFile, choose_nodes, cut

GB = 1_000_000_000
AUTO, ALWAYS, NEVER = Distribution


@pytest.mark.parametrize(
    ("gigabytes", "nodes", "wanted", "obstacle", "is_distributed", "note"),
    [
        (9, 3, AUTO, "", True, "read over 3 nodes: 9.0 GB are more than 4 times the 2 GB of one engine"),
        (8, 3, AUTO, "", False, "read on one node: 8.0 GB are not more than 4 times the 2 GB of one engine"),
        (9, 1, AUTO, "", False, "but the cluster has no other node"),
        (9, 3, NEVER, "", False, "data_prep.distributed is never"),
        (0, 2, ALWAYS, "", True, "read over 2 nodes: data_prep.distributed is always"),
        (9, 3, AUTO, "it is a log", False, "read on one node: it is a log"),
        (0, 3, ALWAYS, "it is a log", False, "read on one node: it is a log"),
        (0, 3, AUTO, "it is a log", False, "not more than"),
    ],
)
def test_the_size_decides_and_the_note_says_so(gigabytes, nodes, wanted, obstacle, is_distributed, note):
    choice = choose_nodes(gigabytes * GB, 2.0, nodes, wanted, obstacle)
    assert choice.is_distributed is is_distributed
    assert note in choice.note


FILES = st.lists(st.tuples(st.integers(0, 1_000), st.none() | st.integers(1, 500)), max_size=12)


@given(FILES, st.integers(1, 9))
def test_every_row_of_every_file_is_in_one_part_and_files_stay_in_order(sizes, num_parts):
    files = [InputFile(index, size, rows) for index, (size, rows) in enumerate(sizes)]
    parts = cut(files, num_parts)
    assert sorted({index for part in parts for index in part.indices}) == list(range(len(files)))
    indices = [part.indices for part in parts]
    assert indices == sorted(indices)
    for file in files:
        own = [part for part in parts if file.index in part.indices]
        if len(own) == 1 and own[0].last is None:
            continue
        rows = [row for part in own for row in range(part.first, part.last + 1)]
        assert rows == list(range(1, file.num_rows + 1))


@given(FILES, st.integers(1, 9))
def test_parts_are_of_about_the_same_size(sizes, num_parts):
    files = [InputFile(index, size, rows) for index, (size, rows) in enumerate(sizes)]
    total = sum(size for size, _ in sizes)
    target = max(1, total // num_parts)
    for part in cut(files, num_parts):
        if len(part.indices) > 1:
            assert sum(files[index].num_bytes for index in part.indices) <= target


@given(st.integers(1, 1_000), st.integers(1, 9), st.integers(0, 1_000))
def test_every_byte_of_a_file_of_lines_is_in_one_range(size, num_parts, other):
    parts = cut([InputFile(0, other), InputFile(1, size, None, has_lines=True)], num_parts)
    ranges = [part.lines for part in parts if part.lines is not None]
    assert not ranges or [byte for one in ranges for byte in range(one.first, one.end)] == list(range(size))
    assert bool(ranges) == (size > max(1, (size + other) // num_parts))
