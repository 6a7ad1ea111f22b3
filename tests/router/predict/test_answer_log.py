from hypothesis import given
from hypothesis import strategies as st

from router.evidence import split
from router.predict import answer_log
from router.predict.answer_log import AnswerLog, LogBuffer, Logged
from router.predict.jobs import MIRROR, PINNED, Job, Version
from tests.router.dispatch_world import Recorder

VERSION = Version("churn-v3.1", b"churn", b"3.1")
OTHER = Version("churn-v3.2", b"churn", b"3.2")


def job(rows: int = 1, version: Version = VERSION, positions: list[int] | None = None) -> Job:
    places = positions or list(range(rows))
    return Job(Recorder(), (), places, b"1234" * len(places), version, 5.0, 6.0)


def taken(buffer: LogBuffer) -> list[tuple[str, bytes, int, str | None]]:
    """Version, request, place and customer of each row."""
    return [
        (each.app_name, *row)
        for each in buffer.take(1 << 40)
        for row in zip(each.ids, each.places, each.entities, strict=True)
    ]


@given(st.lists(st.binary(min_size=1, max_size=20), unique=True, max_size=50), st.integers(0, 10_000))
def test_the_sample_is_decided_by_the_requests_id_alone(ids, sample_bp):
    found = []
    for _ in range(2):  # two gateways
        buffer = LogBuffer()
        log = AnswerLog(buffer, {"churn-v3.1": split.threshold(sample_bp)})
        for request_id in ids:
            log.offer_one(job(), request_id, None, [0.5])
            log.offer([Logged(job(2), [0.5, 0.5])], request_id)
        found.append([row[1] for row in taken(buffer)])
    assert found[0] == found[1]
    assert found[0] == [each for each in ids if each in found[0] for _ in range(3)], "whatever the form of the request"
    if sample_bp in (0, 10_000):
        assert len(found[0]) == (3 * len(ids) if sample_bp else 0)


def test_five_percent_are_five_percent():
    buffer = LogBuffer()
    log = AnswerLog(buffer, {"churn-v3.1": split.threshold(500)})
    for number in range(10_000):
        log.offer_one(job(), b"gw-%x" % number, None, [0.5])
    assert 400 < len(taken(buffer)) < 600


def test_each_version_has_its_own_share():
    buffer = LogBuffer()
    log = AnswerLog(buffer, {"churn-v3.2": split.threshold(10_000)})
    log.offer_one(job(), b"r-1", None, [0.5])
    log.offer_one(job(version=OTHER), b"r-2", None, [0.5])
    assert taken(buffer) == [("churn-v3.2", b"r-2", 0, None)]


def test_copies_and_requests_of_testers_are_left_out():
    buffer = LogBuffer()
    log = AnswerLog(buffer, {"churn-v3.1": split.threshold(10_000)})
    for kind in (MIRROR, PINNED):
        one = job()
        one.kind = kind
        log.offer_one(one, b"r", None, [0.5])
        log.offer([Logged(one, [0.5])], b"r")
    assert (taken(buffer), buffer.size) == ([], 0)


def test_rows_keep_their_place_and_their_customer():
    buffer = LogBuffer()
    log = AnswerLog(buffer, {"churn-v3.1": split.threshold(10_000)})
    log.offer([Logged(job(positions=[0, 2]), memoryview(b"\0\0\0\0\0\0\x80?").cast("f"))], b"r", ["a", "b", "c"], 10)
    log.offer_one(job(), b"q", None, [0.25])
    (columns,) = buffer.take(1 << 40)
    assert (columns.app_name, columns.ids, columns.places) == ("churn-v3.1", [b"r", b"r", b"q"], [10, 12, 0])
    assert (columns.entities, columns.arrived_s) == (["a", "c", None], [5.0] * 3)
    assert (columns.encoded, columns.scores) == (b"1234" * 3, [0.0, 1.0, 0.25])


def test_a_full_buffer_costs_rows_which_are_counted_and_takes_no_more_memory():
    buffer = LogBuffer(20 * (answer_log.ROW_BYTES + 4))
    log = AnswerLog(buffer, {"churn-v3.1": split.threshold(10_000)})
    for number in range(24):
        log.offer([Logged(job(2), [0.5, 0.5])], b"r-%d" % number)
    log.offer_one(job(), b"r", None, [0.5])
    assert buffer.lost == {"churn-v3.1": 29}
    assert len(taken(buffer)) == 20
    assert buffer.size == 0
    log.offer([Logged(job(2), [0.5, 0.5])], b"r")
    assert len(taken(buffer)) == 2, "and then it goes on"


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 60)), max_size=80), st.integers(1, 100_000))
def test_portions_are_about_as_large_as_asked_for_and_lose_nothing(answers, most_bytes):
    buffer = LogBuffer()
    log = AnswerLog(buffer, {each.app_name: split.threshold(10_000) for each in (VERSION, OTHER)})
    sent: list[tuple[str, bytes, int]] = []
    found: list[tuple[str, bytes, int]] = []
    largest = answer_log.CHUNK_BYTES + 60 * (answer_log.ROW_BYTES + 4)
    for number, (is_other, rows) in enumerate(answers):
        version = OTHER if is_other else VERSION
        log.offer([Logged(job(rows, version), [0.5] * rows)], b"%d" % number)
        sent += [(version.app_name, b"%d" % number, place) for place in range(rows)]
        if number % 7:
            continue
        before = buffer.size
        chunks = buffer.take(most_bytes)
        size = sum(each.size for each in chunks)
        assert min(most_bytes, before) <= size < most_bytes + largest
        assert buffer.size == before - size
        found += [(each.app_name, *row) for each in chunks for row in zip(each.ids, each.places, strict=True)]
        for each in chunks:
            assert len(each.encoded) == 4 * len(each.ids) == 4 * len(each.scores) == 4 * len(each.arrived_s)
            assert each.size < largest
    found += [row[:3] for row in taken(buffer)]
    for version in (VERSION, OTHER):
        assert [row for row in found if row[0] == version.app_name] == [
            row for row in sent if row[0] == version.app_name
        ], "in their order"
    assert buffer.size == 0
