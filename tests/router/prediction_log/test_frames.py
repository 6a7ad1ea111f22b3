import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.prediction_log.frames import Counts, Cutter, VersionCount, decode_counts, decode_to_writer, encode
from tests.router.prediction_log.logged import entry, opened, rows_of


@given(st.lists(st.integers(1, 50), max_size=6), st.lists(st.integers(1, 400), max_size=30))
def test_frames_come_out_whole_however_the_stream_is_cut(numbers: list[int], cuts: list[int]):
    messages = [opened(), *[rows_of(5.0, entry(number, rows=2, key="c-1")) for number in numbers]]
    stream = b"".join(encode(message) for message in messages)
    cutter, found = Cutter(), []
    for size in [*cuts, len(stream)]:
        part, stream = stream[:size], stream[size:]
        found += [decode_to_writer(body) for body in cutter.feed(part)]
    assert found == messages


def test_counts_come_out_as_they_were():
    counts = Counts([VersionCount("churn-v1", 3, {"disk": 2})], 4, 5, "gone")
    assert [decode_counts(body) for body in Cutter().feed(encode(counts))] == [counts]


def test_what_is_no_frame_is_refused_before_it_takes_memory():
    with pytest.raises(ValueError, match="a frame of 4294967295 bytes"):
        Cutter().feed(b"\xff\xff\xff\xff")
