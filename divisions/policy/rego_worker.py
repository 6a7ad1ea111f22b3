"""The process in which rules run: it reads questions line by line, and answers each with a line.

A thread of the controller could not be stopped. A process can: when rules loop, it is killed and another one is
started. It kills itself as well (the alarm), in case its owner is gone by then. Time bounds its memory.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec

from divisions.errors import PolicyError
from divisions.policy.rego import Interpreter
from divisions.policy.source import Module
from divisions.policy.trial import Failure, run_tests

TESTS_S: Final = 20.0


class Load(msgspec.Struct, frozen=True, tag=True):
    """The first line. ``limit_s`` is for each decision."""

    modules: tuple[tuple[str, str, bool], ...]
    data: dict[str, Any]
    limit_s: float


class Loaded(msgspec.Struct, frozen=True, tag=True):
    """The answer to it: why the rules are not used; or which tests fail, if any do."""

    error: str = ""
    failures: tuple[Failure, ...] = ()
    num_tests: int = 0


class Ask(msgspec.Struct, frozen=True):
    """A question, with the number that its answer repeats."""

    number: int
    document: dict[str, Any]


class Answer(msgspec.Struct, frozen=True):
    """``result`` is the document of the decision; None if it is undefined."""

    number: int
    result: Any = None


def main() -> None:
    """Until standard input ends."""
    replies = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the engine prints there
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError):  # Its allocator takes no limit, so where memory ends, this process ends first.
        Path("/proc/self/oom_score_adj").write_text("1000")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is for the owner, which closes our input
    serve(sys.stdin.buffer, replies)


def serve(questions: BinaryIO, replies: BinaryIO) -> None:
    """See the module."""
    load = msgspec.json.decode(questions.readline(), type=Load)
    signal.setitimer(signal.ITIMER_REAL, TESTS_S)
    loaded, interpreter = _loaded(load)
    signal.setitimer(signal.ITIMER_REAL, 0)
    replies.write(msgspec.json.encode(loaded) + b"\n")
    if interpreter is None:
        return
    ask = msgspec.json.Decoder(Ask)
    for line in questions:
        question = ask.decode(line)
        signal.setitimer(signal.ITIMER_REAL, 2 * load.limit_s)  # Its owner kills it before.
        result = interpreter.decision(question.document)
        signal.setitimer(signal.ITIMER_REAL, 0)
        replies.write(msgspec.json.encode(Answer(question.number, result)) + b"\n")


def _loaded(load: Load) -> tuple[Loaded, Interpreter | None]:
    modules = tuple(Module(name, text, is_ours) for name, text, is_ours in load.modules)
    try:
        interpreter = Interpreter(modules, load.data)
    except PolicyError as error:
        return Loaded(str(error)), None
    for kind in ("rbac", "promotion"):
        answer = interpreter.decision({"kind": kind})
        if isinstance(answer, dict) and answer.get("allow") is not False:
            return Loaded(f"a question of kind {kind} that says nothing is not refused"), None
    failures, num_tests = run_tests(modules, load.data, lambda data: Interpreter(modules, data))
    return Loaded("", failures, num_tests), interpreter


if __name__ == "__main__":
    main()
