"""Which rows are kept for the measurement of drift, and how many."""

import numpy as np

from router.predict.jobs import MIRROR, PINNED, Job, Version
from router.predict.row_sample import MAX_ROWS, RowSample
from tests.router.dispatch_world import DispatchWorld, Recorder

VERSION = Version("m-v1", b"m", b"1")


def job(rows=1, key=b"", first=0):
    payload = np.arange(first, first + 2 * rows, dtype="<f4").tobytes()
    made = Job(Recorder(), (), range(rows), payload, VERSION, 0.0, 1.0)
    made.key = key
    return made


def scores(*values):
    return np.array(values, dtype="<f4").tobytes()


def filled(room):
    sample = RowSample()
    for _ in range(room):
        sample.refill()
    return sample


def told(sample):
    return [
        (row.key, np.frombuffer(row.row, "<f4").tolist(), np.frombuffer(row.score, "<f4")[0].item())
        for row in sample.take()
    ]


def test_rows_keep_their_customer_and_their_score():
    sample = filled(10)
    sample.offer([job(key=b"a"), job(key=b"b", first=8)], scores(0.25, 0.5))
    assert told(sample) == [(b"a", [0, 1], 0.25), (b"b", [8, 9], 0.5)]
    assert told(sample) == []


def test_a_row_without_a_customer_stands_for_itself():
    sample = filled(10)
    sample.offer([job(rows=2)], scores(0.25, 0.5))
    rows = sample.take()
    assert [row.key for row in rows] == [row.row for row in rows]
    assert len({row.key for row in rows}) == 2


def test_of_a_large_request_rows_are_kept_that_are_not_neighbours():
    sample = filled(3)
    sample.offer([job(key=b"x"), job(rows=10)], scores(0.5, *[number / 16 for number in range(10)]))
    assert [score for _, _, score in told(sample)] == [0.5, 0.0, 5 / 16]
    assert sample.room == 0


def test_requests_that_are_no_random_sample_are_left_out():
    sample = filled(10)
    pinned, mirror, second = job(key=b"p"), job(key=b"m"), job(key=b"s")
    pinned.kind, mirror.kind, second.first = PINNED, MIRROR, job()
    sample.offer([pinned, mirror, second, job(key=b"a")], scores(0, 0, 0, 0.75))
    assert [(key, score) for key, _, score in told(sample)] == [(b"a", 0.75)]


def test_what_is_kept_between_two_reports_is_bounded():
    sample = RowSample()
    for _ in range(5 * MAX_ROWS):
        sample.refill()
        sample.offer([job(key=b"a")], scores(0.5))
    assert len(sample.take()) == MAX_ROWS
    assert sample.room == 0, "room comes back one row at a time, so that rows are spread over the second"


def test_a_pool_keeps_rows_as_the_dispatcher_sweeps(run):
    async def scenario():
        it = DispatchWorld(stable_s=(0.001,))
        await it.run(0.5)
        answers = [it.submit(f"c-{number}") for number in range(5)]
        await it.run(0.5)
        assert [answer.outcome for answer in answers] == ["ok"] * 5
        assert sorted(row.key for row in it.endpoint.stable.sample.take()) == [b"c-0", b"c-1", b"c-2", b"c-3", b"c-4"]

    run(scenario())
