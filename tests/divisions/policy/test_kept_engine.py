"""An engine that follows a folder, without processes: rules that change, break, vanish and come back."""

from __future__ import annotations

import contextlib
import logging
import shutil

import pytest

from deploy.supervision.processes import wait_until
from divisions.clock import ManualClock, SystemClock
from divisions.errors import PolicyError
from divisions.policy.engine import Decision, Kind, Query
from divisions.policy.facts import AccessFacts, Person
from divisions.policy.kept_engine import AGAIN_S, KeptEngine

YES = Query(Kind.RBAC, AccessFacts(Person("ann", "admin"), "promote", "churn"))
ALLOWS = "package divisions.custom.team\n\nimport rego.v1\n\ndefault allow := false\n\nallow if input.kind\n"
REFUSES = ALLOWS.replace("allow if input.kind", "allow if input.never")


class Allows:
    """Stands for an engine whose rules are good, without a process."""

    def __init__(self, bundle):
        self.digest = bundle.digest
        self.is_closed = self.is_revived = False

    def decide(self, query):
        return Decision(True, (), self.digest)

    def revive(self):
        self.is_revived = True

    def close(self):
        self.is_closed = True


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "policy").mkdir()
    (tmp_path / "policy" / "team.rego").write_text(ALLOWS)
    return tmp_path / "policy"


@pytest.fixture
def kept(folder):
    """A function that makes one which looks when told to."""
    with contextlib.ExitStack() as opened:
        yield lambda start=Allows, clock=None: opened.enter_context(
            contextlib.closing(KeptEngine(folder, clock or ManualClock(), start=start, follows=False))
        )


@pytest.mark.parametrize(
    "breaks",
    [
        lambda folder: folder.rename(folder.parent / "elsewhere"),
        lambda folder: (folder / "data.yaml").write_text("gates: 1"),
        lambda folder: (folder / "team.rego").write_bytes(b"\xff"),
    ],
    ids=["no folder", "data", "no text"],
)
def test_good_rules_that_come_back_end_the_fault(folder, kept, breaks, caplog):
    caplog.set_level(logging.WARNING)
    engine = kept()
    assert engine.look()
    breaks(folder)
    for _ in range(3):
        assert not engine.look()
    fault = engine.fault
    assert fault
    assert engine.report == f"the rules before still decide: {fault}"
    assert engine.decide(YES).allow
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / "team.rego").write_text(ALLOWS)
    assert not engine.look()  # the same rules still decide
    assert engine.fault == engine.report == ""
    assert [record.levelname for record in caplog.records if fault in record.message] == ["ERROR"]
    assert caplog.records[-1].message == f"the policy in {folder} can be used"


def test_rules_that_could_not_be_used_are_tried_again_after_a_while(kept):
    """The fault may not have been theirs: the engine was not installed, or the machine had no memory or time."""
    clock, attempts = ManualClock(), []

    def start(bundle):
        attempts.append(bundle.digest)
        if len(attempts) < 3:
            raise [PolicyError("regopy is not installed"), OSError("no memory")][len(attempts) - 1]
        return Allows(bundle)

    engine = kept(start, clock)
    assert not engine.look()
    assert engine.report.startswith("what it guards is refused: regopy is not installed")
    assert not engine.look()
    assert len(attempts) == 1
    assert "regopy" in engine.fault
    clock.advance(AGAIN_S)
    assert not engine.look()
    assert engine.fault == "no memory"
    clock.advance(AGAIN_S)
    assert engine.look()
    clock.advance(AGAIN_S)
    assert not engine.look()
    assert len(attempts) == 3


def test_an_unforeseen_error_is_no_success(kept):
    def start(bundle):
        raise ValueError("garbage")

    engine = kept(start)
    with pytest.raises(ValueError, match="garbage"):
        engine.look()
    assert not engine.look()
    assert "not foreseen" in engine.decide(YES).text


def test_the_old_engine_is_ended_and_so_is_one_that_starts_too_late(folder, kept):
    started = []

    def start(bundle):
        started.append(Allows(bundle))
        if len(started) == 3:
            engine.close()  # while the third is being started
        return started[-1]

    engine = kept(start)
    for text in (ALLOWS, REFUSES, ALLOWS):
        (folder / "team.rego").write_text(text)
        engine.look()
    assert [each.is_closed for each in started] == [True, True, True]
    assert not engine.decide(YES).allow


def test_a_folder_is_followed(tmp_path):
    with contextlib.closing(KeptEngine(tmp_path / "absent", SystemClock(), start=Allows)) as engine:
        assert wait_until(lambda: "no such folder" in engine.fault, 60.0)
        (tmp_path / "absent").mkdir()
        assert wait_until(lambda: engine.digest, 60.0)
        assert wait_until(lambda: engine._engine.is_revived, 60.0)
