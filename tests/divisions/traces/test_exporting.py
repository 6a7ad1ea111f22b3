import threading

from divisions.traces.exporting import BATCH, Exporting
from router.traces.frames import Requests


def requests(num: int) -> Requests:
    return Requests(0.0, [("record",)] * num)  # type: ignore[list-item]


def spans_of(found: Requests) -> list:
    return list(found.records) * 3


def test_what_the_collector_takes_is_exported_in_batches():
    sent = []
    exporting = Exporting(spans_of, lambda spans: sent.append(len(spans)) or "")
    for num in (BATCH - 1, 1, 5):
        exporting.take(requests(num))
    while exporting.turn():
        pass
    assert sent == [3 * BATCH, 15]
    assert (exporting.exported, exporting.lost, exporting.fault) == (BATCH + 5, 0, "")


def test_what_it_does_not_take_is_lost_and_told_once(caplog):
    answers = ["401", "401", "", "503"]
    exporting = Exporting(spans_of, lambda spans: answers.pop(0))
    for _ in range(4):
        exporting.take(requests(2))
        exporting.turn()
    assert (exporting.exported, exporting.lost, exporting.fault) == (2, 6, "503")
    assert [record.args for record in caplog.records] == [("401",), ("503",)]


def test_an_exporter_that_raises_costs_its_batch_only(caplog):
    def export(spans):
        raise ValueError("no such thing")

    exporting = Exporting(spans_of, export)
    exporting.take(requests(2))
    assert exporting.turn()
    assert (exporting.lost, exporting.fault) == (2, "ValueError: no such thing")


def test_a_collector_that_stands_still_costs_what_does_not_fit():
    begun, may_end = threading.Event(), threading.Event()

    def export(spans):
        begun.set()
        may_end.wait(100)
        return ""

    exporting = Exporting(spans_of, export, max_waiting=10)
    exporting.start()
    exporting.take(requests(1))
    assert begun.wait(100)
    for _ in range(7):
        exporting.take(requests(3))
    assert exporting.lost == 12
    may_end.set()
    exporting.close(100)
    assert (exporting.exported, exporting.lost) == (10, 12)
