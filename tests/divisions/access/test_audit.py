"""The chain of the audit log. Defence: tampering with one byte is found."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from divisions.access.audit import AuditEvent, AuditHead, chosen, encode, verify


def event(number: int = 0, **changes: object) -> AuditEvent:
    given_ = {"at_s": float(number), "who": "ann", "role": "admin", "address": "10.0.0.7", "action": "abort"}
    return AuditEvent(**given_ | {"subject": "churn", "outcome": "done"} | changes)


def log(count: int = 5) -> tuple[list[bytes], list[AuditHead]]:
    lines, heads = [], [AuditHead()]
    for number in range(count):
        data, head = encode(heads[-1], event(number))
        lines.append(data)
        heads.append(head)
    return lines, heads


def test_what_was_written_is_right():
    lines, heads = log()
    found = verify(b"".join(lines), heads[-1])
    assert (found.fault, found.is_cut_off) == ("", False)
    assert [line.event for line in found.lines] == [event(number) for number in range(5)]
    assert verify(b"", AuditHead()).fault == ""


@given(st.data())
def test_one_byte_that_differs_is_found(data):
    lines, heads = log(3)
    whole = b"".join(lines)
    position = data.draw(st.integers(0, len(whole) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != whole[position]))
    changed = whole[:position] + bytes([byte]) + whole[position + 1 :]
    assert verify(changed, heads[-1]).fault


@pytest.mark.parametrize("where", range(5))
def test_a_line_that_is_missing_is_found_wherever_it_was(where):
    lines, heads = log()
    assert verify(b"".join(lines[:where] + lines[where + 1 :]), heads[-1]).fault


def test_lines_that_changed_places_were_doubled_or_added_are_found():
    lines, heads = log()
    assert verify(b"".join([lines[1], lines[0], *lines[2:]]), heads[-1]).fault
    assert verify(b"".join([*lines, lines[-1]]), heads[-1]).fault
    more, head = encode(heads[-1], event(9))
    assert verify(b"".join([*lines, more]), heads[-1]).fault == "", "its writer was killed before the head"
    further, _ = encode(head, event(10))
    assert "unknown to its head" in verify(b"".join([*lines, more, further]), heads[-1]).fault


def test_another_history_with_the_old_head_is_found():
    _, heads = log()
    forged, head = [], AuditHead()
    for number in range(5):
        data, head = encode(head, event(number, who="bob"))
        forged.append(data)
    assert "another one than its head knows" in verify(b"".join(forged), heads[-1]).fault


def test_a_head_that_is_missing_and_a_log_that_is_missing_are_found():
    lines, heads = log()
    assert verify(b"".join(lines), None).fault == "its head is missing"
    assert verify(b"", heads[-1]).fault == "5 lines are missing at its end"


def test_a_line_that_was_cut_off_is_told_and_is_no_tampering():
    lines, heads = log()
    found = verify(b"".join(lines) + b'{"seq":6', heads[-1])
    assert (found.fault, found.is_cut_off, len(found.lines)) == ("", True, 5)


def test_lines_are_json_and_chosen_by_who_and_what():
    lines, heads = log(2)
    data, head = encode(heads[-1], event(7, who="bob", subject="fraud"))
    assert msgspec.json.decode(data)["event"]["who"] == "bob"
    found = verify(b"".join([*lines, data]), head).lines
    assert [line.seq for line in chosen(found, "bob", "", 50)] == [3]
    assert [line.seq for line in chosen(found, "", "churn", 50)] == [1, 2]
    assert [line.seq for line in chosen(found, "", "", 1)] == [3]
