"""What a process logs is on disk line by line, and no fault of a disk goes further."""

from __future__ import annotations

import json
import logging
import os
import stat
import threading

import pytest

from divisions.logs import json_lines
from divisions.logs.json_lines import JsonLines, fields, older


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    """A busy machine may take longer than a process that ends may wait."""
    monkeypatch.setattr(json_lines, "FLUSH_S", 60.0)


@pytest.fixture
def log(tmp_path, patience):
    found = logging.Logger("router.test", logging.INFO)  # of no tree: other tests' handlers do not hear it
    handler = JsonLines(tmp_path / "gateway.jsonl", "gateway", "abc")
    found.addHandler(handler)
    yield found, handler, tmp_path / "gateway.jsonl"
    handler.close()


def lines(path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_line_has_its_process_and_what_was_given(log):
    logger, handler, path = log
    logger.warning("%d of %s", 3, "five")
    logger.warning("{}", extra=fields(detail="no replica", request_id="r-1", level="forged"))
    logger.debug("nobody asked for that")
    handler.flush()
    first, second = lines(path)
    assert (first["text"], first["level"], first["process"], first["name"], first["pid"]) == (
        "3 of five", "warning", "gateway", "abc", os.getpid()
    )  # fmt: skip
    assert (second["text"], second["request_id"], second["level"]) == ("no replica", "r-1", "warning")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_traceback_is_a_member_of_its_line(log):
    logger, handler, path = log
    try:
        raise ValueError("odd")
    except ValueError:
        logger.exception("it failed\nbadly")
    handler.flush()
    (line,) = lines(path)
    assert line["text"] == "it failed\nbadly"
    assert line["trace"].endswith("ValueError: odd")


def test_a_full_file_is_moved_and_a_new_one_begins(log, monkeypatch):
    monkeypatch.setattr(json_lines, "MAX_BYTES", 1_000)
    logger, handler, path = log
    for number in range(50):
        logger.info("line %d", number)
    handler.flush()
    assert lines(path)[-1]["text"] == "line 49"
    assert path.stat().st_size < 1_500
    assert older(path).stat().st_size < 1_500
    assert sorted(each.name for each in path.parent.iterdir()) == ["gateway.1.jsonl", "gateway.jsonl"]


def test_lost_lines_are_counted_by_the_next_one(log):
    logger, handler, path = log
    path.mkdir()
    for _ in range(3):
        logger.info("lost")
    handler.flush()
    path.rmdir()
    logger.info("kept")
    handler.flush()
    assert [line["text"] for line in lines(path)] == ["3 lines were lost before this one", "kept"]


def test_a_disk_that_hangs_keeps_nobody_waiting(log, monkeypatch):
    monkeypatch.setattr(json_lines, "MOST_WAITING", 10)
    monkeypatch.setattr(json_lines, "FLUSH_S", 0.01)
    logger, _, path = log
    handler = JsonLines(path, "gateway")
    logger.handlers = [handler]
    gate = threading.Event()
    monkeypatch.setattr(handler, "_write", lambda line: gate.wait(60))
    for _ in range(100):
        logger.info("x")
    assert handler._lost >= 80
    gate.set()
    handler.close()


def test_several_writers_mix_no_lines(tmp_path):
    path = tmp_path / "gateway.jsonl"
    handlers = [JsonLines(path, "gateway", str(number)) for number in range(4)]
    for number in range(200):
        for handler in handlers:
            handler.emit(logging.LogRecord("router", logging.INFO, "", 0, f"{number} " + "x" * 500, (), None))
    for handler in handlers:
        handler.close()
    assert len(lines(path)) == 800
