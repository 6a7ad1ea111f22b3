"""A replica's certificate: asked for before anything else, renewed in time, by the node's own clock."""

from __future__ import annotations

import msgspec
import pytest

from divisions.certificates.authority import LIFETIME_S, new_authority
from divisions.certificates.names import CertificateRequest, Role
from divisions.clock import ManualClock
from serving.replica.certification import Certification

CLOCK = ManualClock()
AUTHORITY = new_authority(CLOCK.wall_s())


class Asking:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.clock.advance(100.0)
        self.installed = []
        self.certification = Certification("m-v1#a", self.installed.append, self.clock)

    def answer(self) -> CertificateRequest:
        request = msgspec.msgpack.decode(self.certification.ask(), type=CertificateRequest)
        self.certification.take(msgspec.msgpack.encode(AUTHORITY.issue(request, self.clock.wall_s())))
        return request


def test_the_first_one_is_due_at_once_and_names_the_replica():
    it = Asking()
    assert it.certification.is_due
    assert not it.certification.has_any
    request = it.answer()
    assert (request.role, request.identity) == (Role.REPLICA, "m-v1#a")
    assert it.certification.has_any
    assert len(it.installed) == 1
    assert not it.certification.is_due


def test_it_is_renewed_with_a_new_key():
    it = Asking()
    it.answer()
    it.clock.advance(LIFETIME_S / 3)
    assert it.certification.is_due
    it.answer()
    first, second = it.installed
    assert first.key != second.key
    assert not it.certification.is_due


def test_an_unanswered_request_is_repeated_but_not_at_once():
    it = Asking()
    it.certification.ask()
    assert not it.certification.is_due
    it.clock.advance(1.0)
    assert it.certification.is_due


def test_an_answer_that_is_none_installs_nothing():
    it = Asking()
    it.certification.ask()
    with pytest.raises(msgspec.MsgspecError):
        it.certification.take(b"\xc1")
    assert not it.installed
    assert not it.certification.has_any
