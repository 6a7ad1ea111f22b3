"""One form for the lines of all logs, and which are wanted."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from divisions.access.audit import AuditEvent, AuditHead, encode
from divisions.deployments import Deployment, StepRecord
from divisions.logs.lines import (
    LogLine,
    Wanted,
    as_json,
    of_audit,
    of_deployments,
    of_process,
    of_rollout,
    of_run,
    rendered,
)
from router.journal.journal import Kind
from router.rollouts.messages import RolloutEvent

PARSERS = (of_process, of_rollout, of_audit, lambda text: of_run("r", text))


@given(st.binary(max_size=200))
def test_no_bytes_are_more_than_no_line(data):
    for parse in PARSERS:
        found = parse(data)
        assert found is None or rendered(found)


@pytest.mark.parametrize(
    "data", [b"[]", b"7", b'{"at_s":"x"}', b'{"event":{}}', b'{"event":[]}', b'{"at_s":null}', b'{"at_s":1e300}']
)
def test_json_of_another_shape_is_no_line(data):
    assert all(parse(data) is None for parse in PARSERS)


def test_each_log_becomes_a_line():
    process = of_process(b'{"at_s":5.5,"level":"warning","process":"gateway","name":"ab","text":"t","request_id":"r"}')
    assert process == LogLine(5.5, "gateway", "warning", "t", {"name": "ab", "request_id": "r"})
    event = RolloutEvent(5.0, "churn", Kind.ROLLBACK_INTENT.value, 3, 4, "ROLLING_BACK", 0, "3.1", "3.2", "slow")
    rollout = of_rollout(msgspec.json.encode(event))
    assert rollout is not None
    assert (rollout.source, rollout.level, rollout.text) == ("rollout", "warning", "churn: slow")
    line, _ = encode(AuditHead(), AuditEvent(6.0, "ann", "admin", "::1", "promote", "churn", "refused", reason="no"))
    audit = of_audit(line)
    assert audit is not None
    assert (audit.at_s, audit.level, audit.text) == (6.0, "warning", "ann promote churn: refused: no")
    run = of_run("abcd", b"1970-01-01 00:00:09 Train: failed after 1.0 s")
    assert run == LogLine(9.0, "run", "error", "Train: failed after 1.0 s", {"run_id": "abcd", "name": "abcd"})


def test_a_deployment_tells_its_steps():
    steps = (StepRecord("a", "Push", 2.0, 3.0, "1 blob"), StepRecord("b", "Watch", 4.0, 5.0, "", "refused"))
    found = of_deployments([Deployment(7, "local", "m", "3.2", "churn", "ann", 1.0, 6.0, "promoted", steps)])
    assert [(line.at_s, line.level, line.text) for line in found] == [
        (1.0, "info", "deployment 7 of m 3.2 to local by ann"),
        (2.0, "info", "Push ..."),
        (3.0, "info", "✓ Push: 1 blob"),
        (4.0, "info", "Watch ..."),
        (5.0, "error", "✗ Watch: refused"),
        (6.0, "info", "deployment 7 of m 3.2 to local: promoted"),
    ]


CHURN = LogLine(5.0, "gateway", "warning", "t", {"endpoint": "churn", "request_id": "r-1"})
RUN = LogLine(5.0, "run", "info", "t", {"run_id": "abcdef"})
DEPLOYED = LogLine(5.0, "deployment", "info", "t", {"deployment": 7, "endpoint": "churn"})


@pytest.mark.parametrize(
    ("wanted", "taken"),
    [
        (Wanted(), [CHURN, RUN, DEPLOYED]),
        (Wanted(level="warning"), [CHURN]),
        (Wanted(endpoint="churn"), [CHURN, DEPLOYED]),
        (Wanted(request_id="r-1"), [CHURN]),
        (Wanted(request_id="r"), []),
        (Wanted(run_id="abcd"), [RUN]),
        (Wanted(deployment=7), [DEPLOYED]),
        (Wanted("churn", deployment=8), [CHURN, DEPLOYED]),
        (Wanted("churn", deployment=7, since_s=6.0), []),
        (Wanted(until_s=4.0), []),
    ],
)
def test_lines_are_chosen(wanted, taken):
    assert [line for line in (CHURN, RUN, DEPLOYED) if wanted.takes(line)] == taken


def test_a_terminal_is_not_told_what_to_do():
    line = LogLine(0.0, "gateway", "error", "\x1b[2Jhi\n", {"pid": 1, "endpoint": "\x07", "trace": "a\n\x1bb"})
    text = rendered(line)
    assert "\x1b" not in text
    assert "\x07" not in text
    assert text.splitlines()[0] == "1970-01-01 00:00:00.000 gateway ERROR: \\x1b[2Jhi\\n [endpoint=\\x07]"
    assert len(text.splitlines()) == 3


def test_json_has_all_of_a_line_and_its_own_names_win():
    line = LogLine(1.0, "gateway", "info", "t", {"source": "forged", "request_id": "r"})
    assert json.loads(msgspec.json.encode(as_json(line))) == {
        "source": "gateway", "request_id": "r", "at_s": 1.0, "level": "info", "text": "t"
    }  # fmt: skip
