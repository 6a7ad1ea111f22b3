"""The engine in process: policies that loop or are broken, processes that are killed, rules that change."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import sys
import threading
from pathlib import Path

import pytest

from deploy.supervision.processes import wait_until
from divisions.clock import ManualClock
from divisions.errors import PolicyError
from divisions.policy.bundle import load_bundle
from divisions.policy.engine import ENGINE_RULE, Kind, Query
from divisions.policy.facts import AccessFacts, Person
from divisions.policy.kept_engine import KeptEngine
from divisions.policy.rego_engine import RegoEngine, failures_of

YES = Query(Kind.RBAC, AccessFacts(Person("ann", "admin"), "promote", "churn"))
SLOW = Query(Kind.RBAC, AccessFacts(Person("loop", "admin"), "promote", "churn"))
HEAD = "import rego.v1\n\n"
LOOPS = f"""package divisions.custom.loops

{HEAD}default allow := false

allow if input.principal.name != "loop"

allow if {{
	input.principal.name == "loop"
	some a in numbers.range(1, 100000)
	some b in numbers.range(1, 100000)
	a + b < 0
}}
"""
ALLOWS = f"package divisions.custom.team\n\n{HEAD}default allow := false\n\nallow if input.kind\n"
FAILING_TEST = f"package divisions.custom.team_test\n\n{HEAD}inputs.a := {{}}\n\ntest_a if input.kind == 1\n"


def _bundle(folder, **files):
    for name, text in files.items():
        (folder / f"{name}.rego").write_text(text)
    return load_bundle(folder)


def test_a_policy_that_loops_is_a_refusal_and_the_next_question_is_answered(tmp_path):
    with contextlib.closing(RegoEngine(_bundle(tmp_path, loops=LOOPS), 2.0)) as engine:
        assert engine.decide(YES).allow
        late = engine.decide(SLOW)
        assert not late.allow
        assert late.reasons[0].rule == ENGINE_RULE
        assert "longer than 2000 ms" in late.text
        assert wait_until(lambda: engine.decide(YES).allow, 60.0)


@pytest.fixture(scope="module")
def ours():
    """An engine with our own rules, which tests leave as able to answer as it was."""
    with contextlib.closing(RegoEngine(load_bundle(None), 30.0)) as engine:
        yield engine


def test_a_process_that_is_killed_is_a_refusal_and_is_started_again(ours):
    os.kill(ours._process.pid, signal.SIGKILL)
    assert not ours.decide(YES).allow
    assert wait_until(lambda: ours.decide(YES).allow, 60.0)


def test_a_process_that_was_killed_between_questions_is_replaced_before_the_next(ours, caplog):
    killed = ours._process.pid
    os.kill(killed, signal.SIGKILL)

    def is_replaced():
        ours.revive()
        return ours._process is not None and ours._process.pid != killed

    assert wait_until(is_replaced, 60.0)
    assert ours.decide(YES).allow
    (record,) = caplog.records
    assert record.message == "the process of the policy engine has ended with status -9: another one is started"


def _program(folder, first=""):
    """A program that is the engine's process. It appends its pid to a file, and does ``first`` before all else."""
    program = folder / "worker"
    program.write_text(
        f"#!/bin/sh\necho $$ >>{folder}/pids\n{first}\nexec {sys.executable} -m divisions.policy.rego_worker\n"
    )
    program.chmod(0o700)
    return program


def _pids(folder):
    return [int(pid) for pid in (folder / "pids").read_text().split()]


def test_a_process_that_cannot_be_started_is_tried_again_with_the_next_question(tmp_path):
    program = _program(tmp_path)
    with contextlib.closing(RegoEngine(load_bundle(None), 30.0, command=(str(program),))) as engine:
        program.rename(tmp_path / "gone")
        os.kill(engine._process.pid, signal.SIGKILL)
        assert not engine.decide(YES).allow
        assert wait_until(lambda: not engine._starting.is_alive(), 60.0)
        assert not engine.decide(YES).allow
        (tmp_path / "gone").rename(program)
        assert wait_until(lambda: engine.decide(YES).allow, 60.0)


def test_rules_whose_tests_fail_leave_no_process(tmp_path):
    (tmp_path / "rules").mkdir()
    bundle = _bundle(tmp_path / "rules", team=ALLOWS, team_test=FAILING_TEST)
    with pytest.raises(PolicyError, match="1 of "):
        RegoEngine(bundle, 30.0, command=(str(_program(tmp_path)),))
    (pid,) = _pids(tmp_path)
    assert not Path(f"/proc/{pid}").exists()


def test_an_engine_that_is_closed_while_its_process_is_replaced_leaves_none(tmp_path):
    program = _program(tmp_path, f"while [ -e {tmp_path}/wait ]; do sleep 0.05; done")
    engine = RegoEngine(load_bundle(None), 30.0, command=(str(program),))
    (tmp_path / "wait").touch()
    os.kill(engine._process.pid, signal.SIGKILL)
    assert not engine.decide(YES).allow
    assert wait_until(lambda: len(_pids(tmp_path)) == 2, 60.0)
    engine.close()
    (tmp_path / "wait").unlink()
    engine._starting.join(60.0)
    assert [pid for pid in _pids(tmp_path) if Path(f"/proc/{pid}").exists()] == []
    assert not engine.decide(YES).allow
    assert len(_pids(tmp_path)) == 2, "nor does a question start another one"


def test_a_controller_with_many_connections_can_ask(ours):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    with contextlib.ExitStack() as opened:
        opened.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        for _ in range(1_100):
            opened.callback(os.close, os.open(os.devnull, os.O_RDONLY))
        os.kill(ours._process.pid, signal.SIGKILL)
        assert not ours.decide(YES).allow
        assert wait_until(lambda: ours.decide(YES).allow, 60.0)
        assert ours._process.stdout.fileno() > 1_024
        os.kill(ours._process.pid, signal.SIGKILL)
        ours.decide(YES)
    assert wait_until(lambda: ours.decide(YES).allow, 60.0)


def test_a_name_cannot_write_the_answer(ours):
    """The engine does not escape what it writes: without care, this name makes the last `allow` of the answer true."""
    forged = '"}], "allow": true, "reasons": [], "x": [{"y": "'
    query = Query(Kind.RBAC, AccessFacts(Person(forged, "viewer"), "promote", forged))
    decision = ours.decide(query)
    assert not decision.allow
    assert decision.reasons[0].rule == "role"


def test_many_threads_get_their_own_answers(ours):
    wrong = []

    def ask(role, expected):
        query = Query(Kind.RBAC, AccessFacts(Person(role, role), "promote", "churn"))
        wrong.extend(1 for _ in range(50) if ours.decide(query).allow != expected)

    threads = [threading.Thread(target=ask, args=pair) for pair in [("admin", True), ("viewer", False)] * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("package divisions.authz\n\nimport rego.v1\n\nallow := true\n", "is not yours"),
        ("package divisions.custom.a\n\nallow := true\n", "import rego.v1"),
        (f"package divisions.custom.a\n\n{HEAD}allow if {{\n", "a.rego:5: this is unclosed"),
        (f'package divisions.custom.a\n\n{HEAD}allow if not net.cidr_contains("10.0.0.0/8", input.ip)\n', "a.rego:5"),
        (f"package divisions.custom.a\n\n{HEAD}allow if not blockd\n\nblocked if input.x\n", "nothing gives blockd"),
        (f"package divisions.custom.a\n\n{HEAD}allow if time.now_ns() > 0\n", "the clock, chance"),
        (f'package divisions.custom.a\n\n{HEAD}allow if http.send({{"url": "http://x"}})\n', "http.send would"),
        (f"package divisions.custom.a\n\n{HEAD}permit if input.x\n", "has no rule allow"),
        (f"package divisions.custom.a\n\n{HEAD}allow if {{ b with input as {{}} }}\n\nb if input.x\n", "`with`"),
        (f'package divisions.custom.a\n\n{HEAD}allow if data.x["f"](1)\n', "this way to call"),
        (f"package divisions.custom.a\n\n{HEAD}allow if data.divisions.authz.allow\n", "cannot be asked"),
        ("", "has no package"),
    ],
    ids=lambda value: value[-40:] if "says" not in value else value,
)
def test_a_policy_that_cannot_be_trusted_is_named(tmp_path, text, says):
    with pytest.raises(PolicyError) as raised:
        RegoEngine(_bundle(tmp_path, a=text)).close()
    assert says in str(raised.value)


def test_tests_that_fail_are_named_with_their_lines_and_keep_the_rules_out(tmp_path):
    tests = (
        f"package divisions.custom.team_test\n\n{HEAD}inputs.a := {{}}\n\ntest_a if input.kind == 1\n\ntest_b if true\n"
    )
    bundle = _bundle(tmp_path, team=ALLOWS, team_test=tests)
    failures, _ = failures_of(bundle)
    assert [str(failure) for failure in failures] == [
        "team_test.rego:7: test_a does not hold",
        "team_test.rego:9: test_b has no input: write inputs.b := {…}",
    ]
    with pytest.raises(PolicyError, match="2 of"):
        RegoEngine(bundle)


def test_a_broken_change_keeps_the_last_good_rules_and_a_broken_start_refuses(tmp_path):
    team = tmp_path / "team.rego"
    team.write_text("package")
    with contextlib.closing(
        KeptEngine(tmp_path, ManualClock(), start=lambda bundle: RegoEngine(bundle, 30.0), follows=False)
    ) as engine:
        assert not engine.look()
        refused = engine.decide(YES)
        assert refused.reasons[0].rule == ENGINE_RULE
        assert "team.rego" in refused.text
        assert "divisions policy check" in refused.text
        assert engine.digest == ""
        team.write_text(ALLOWS)
        assert engine.look()
        good = engine.digest
        assert engine.decide(YES).allow
        assert not engine.look()  # nothing has changed
        team.write_text(ALLOWS + "nonsense if {\n")
        assert not engine.look()
        assert "team.rego:8" in engine.fault
        team.write_text(ALLOWS)
        (tmp_path / "team_test.rego").write_text(FAILING_TEST)
        assert not engine.look()
        assert "team_test.rego:7: test_a" in engine.fault
        assert engine.digest == good
        assert engine.decide(YES).allow
        (tmp_path / "team_test.rego").unlink()
        team.write_text(ALLOWS.replace("allow if input.kind", "allow if input.never"))
        assert engine.look()
        assert not engine.fault
        assert engine.decide(YES).reasons[0].rule == "custom.team"
