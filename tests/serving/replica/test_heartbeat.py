from __future__ import annotations

from serving.replica.heartbeat import BEAT_S, RETRY_S, Heartbeat


def test_it_beats_slowly_while_received_and_quickly_while_not() -> None:
    heard = iter([True, True, False, False, True])
    waits: list[float] = []

    def wait(seconds: float) -> bool:
        waits.append(seconds)
        return len(waits) == 5

    Heartbeat(lambda: next(heard), wait).run()
    assert waits == [BEAT_S, BEAT_S, RETRY_S, RETRY_S, BEAT_S]


def test_it_stops_when_told_to() -> None:
    beats: list[None] = []
    heartbeat = Heartbeat(lambda: beats.append(None) is None)
    heartbeat.stop()
    heartbeat.start()
    heartbeat._thread.join(120)
    assert not heartbeat._thread.is_alive()
    assert len(beats) == 1


def test_a_beat_that_raises_does_not_end_it() -> None:
    def fail() -> bool:
        raise OSError("no network")

    waits: list[float] = []
    Heartbeat(fail, lambda seconds: waits.append(seconds) or len(waits) == 3).run()
    assert waits == [RETRY_S] * 3
