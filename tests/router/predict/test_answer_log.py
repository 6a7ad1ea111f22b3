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


def taken(buffer: LogBuffer) -> list:
    return buffer.take(1 << 40)


@given(st.lists(st.binary(min_size=1, max_size=20), unique=True, max_size=50), st.integers(0, 10_000))
def test_the_sample_is_decided_by_the_requests_id_alone(ids, sample_bp):
    found = []
    for _ in range(2):  # two gateways
        buffer = LogBuffer()
        log = AnswerLog(buffer, {"churn-v3.1": split.threshold(sample_bp)})
        for request_id in ids:
            log.offer_one(job(), request_id, None, [0.5])
            log.offer([Logged(job(2), [0.5, 0.5])], request_id)
        found.append([entry[1] for entry in taken(buffer)])
    assert found[0] == found[1]
    assert found[0] == [each for each in ids if each in found[0] for _ in range(2)], "whatever the form of the request"
    if sample_bp in (0, 10_000):
        assert len(found[0]) == (2 * len(ids) if sample_bp else 0)


def test_five_percent_are_five_percent():
    buffer = LogBuffer()
    log = AnswerLog(buffer, {"churn-v3.1": split.threshold(500)})
    for number in range(10_000):
        log.offer_one(job(), b"gw-%x" % number, None, [0.5])
    assert 400 < len(buffer) < 600


def test_each_version_has_its_own_share():
    buffer = LogBuffer()
    log = AnswerLog(buffer, {"churn-v3.2": split.threshold(10_000)})
    log.offer_one(job(), b"r-1", None, [0.5])
    log.offer_one(job(version=OTHER), b"r-2", None, [0.5])
    assert [entry[:2] for entry in taken(buffer)] == [("churn-v3.2", b"r-2")]


def test_copies_and_requests_of_testers_are_left_out():
    buffer = LogBuffer()
    log = AnswerLog(buffer, {"churn-v3.1": split.threshold(10_000)})
    for kind in (MIRROR, PINNED):
        one = job()
        one.kind = kind
        log.offer_one(one, b"r", None, [0.5])
        log.offer([Logged(one, [0.5])], b"r")
    assert len(buffer) == 0


def test_rows_keep_their_place_and_their_customer():
    buffer = LogBuffer()
    log = AnswerLog(buffer, {"churn-v3.1": split.threshold(10_000)})
    log.offer([Logged(job(positions=[0, 2]), memoryview(b"\0\0\0\0\0\0\x80?").cast("f"))], b"r", ["a", "b", "c"], 10)
    assert taken(buffer) == [("churn-v3.1", b"r", [10, 12], ["a", "c"], 5.0, b"12341234", [0.0, 1.0])]


def test_a_full_buffer_costs_rows_which_are_counted_and_takes_no_more_memory():
    buffer = LogBuffer(10 * (answer_log.ENTRY_BYTES + 8))
    log = AnswerLog(buffer, {"churn-v3.1": split.threshold(10_000)})
    for number in range(25):
        log.offer([Logged(job(2), [0.5, 0.5])], b"r-%d" % number)
    assert (len(buffer), buffer.lost) == (10, {"churn-v3.1": 30})
    assert len(taken(buffer)) == 10
    assert buffer.size == 0
    log.offer([Logged(job(2), [0.5, 0.5])], b"r")
    assert len(buffer) == 1, "and then it goes on"


def test_a_portion_is_about_as_large_as_asked_for_and_never_empty():
    buffer = LogBuffer()
    for number in range(10):
        buffer.add(("churn-v3.1", b"r-%d" % number, [0], [None], 1.0, b"1" * 100, [0.5]))
    portions = []
    while len(buffer):
        portions.append(len(buffer.take(1_500)))
    assert portions == [3, 3, 3, 1]
