from __future__ import annotations

import json
import logging

from divisions.clock import ManualClock
from router.http.request_log import LINES_PER_S, RequestLog

TRACE = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def lines(caplog) -> list[dict]:
    return [json.loads(record.getMessage()) for record in caplog.records if record.name == "divisions.requests"]


def test_a_failure_joins_the_callers_trace(caplog):
    RequestLog(ManualClock().monotonic_s).refused("churn", 504, "no answer", b"r-1", TRACE)
    assert lines(caplog) == [
        {
            "event": "request_failed",
            "endpoint": "churn",
            "status": 504,
            "detail": "no answer",
            "request_id": "r-1",
            "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
            "parent_id": "00f067aa0ba902b7",
        }
    ]


def test_a_header_that_is_no_trace_is_left_out(caplog):
    RequestLog(ManualClock().monotonic_s).refused("churn", 503, "x", b"r-1", b'"}\n{"event":"forged"')
    (line,) = lines(caplog)
    assert "trace_id" not in line
    assert "forged" not in json.dumps(line)


def test_what_callers_did_wrong_is_not_logged(caplog):
    RequestLog(ManualClock().monotonic_s).refused("churn", 422, "x", b"r-1", TRACE)
    assert lines(caplog) == []


def test_a_flood_is_cut_off_and_counted(caplog):
    caplog.set_level(logging.WARNING)
    clock = ManualClock()
    log = RequestLog(clock.monotonic_s)
    for _ in range(LINES_PER_S + 7):
        log.refused("churn", 503, "x", b"r", b"")
    assert len(lines(caplog)) == LINES_PER_S
    clock.advance(1.0)
    log.refused("churn", 503, "x", b"r", b"")
    assert lines(caplog)[-1]["left_out_before"] == 7
