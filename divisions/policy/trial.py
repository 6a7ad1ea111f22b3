"""Runs the tests of policies: rules ``test_NAME`` of files ``…_test.rego``, each with its own ``input``. Pure.

The input of ``test_NAME`` is ``inputs.NAME`` of its package. The engine in process ends when a rule says ``with``, as
tests of Open Policy Agent do, so the input comes from here. ``settings`` of a test's package stand in for those of
the gates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

import msgspec

from divisions.policy.source import Module


class Failure(msgspec.Struct, frozen=True):
    """A test that does not hold, and why if that is known."""

    path: str
    line: int
    test: str
    why: str = "does not hold"

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.test} {self.why}"


class Evaluator(Protocol):
    """Evaluates the rule at a path, such as ``a/b_test/test_c``; None if it is undefined."""

    def evaluate(self, reference: str, document: dict[str, Any]) -> Any: ...


def run_tests(
    modules: Iterable[Module], data: dict[str, Any], new: Callable[[dict[str, Any]], Evaluator]
) -> tuple[tuple[Failure, ...], int]:
    """The tests that do not hold, and how many there are.

    Args:
        modules: rules and tests.
        data: the ``data`` document.
        new: makes an engine with the modules and other data.
    """
    failures: list[Failure] = []
    num_tests = 0
    usual = new(data)
    for module in modules:
        if not module.tests:
            continue
        package, engine = module.package.replace(".", "/"), usual
        settings = usual.evaluate(f"{package}/settings", {}) if "settings" in module.heads else None
        if isinstance(settings, dict):
            engine = new(data | {"divisions": data["divisions"] | {"settings": settings}})
        inputs = engine.evaluate(f"{package}/inputs", {}) if "inputs" in module.heads else None
        for test, line in module.tests:
            num_tests += 1
            document = inputs.get(test.removeprefix("test_")) if isinstance(inputs, dict) else None
            if not isinstance(document, dict):
                failures.append(Failure(module.name, line, test, f"has no input: write inputs.{test[5:]} := {{…}}"))
            elif engine.evaluate(f"{package}/{test}", document) is not True:
                failures.append(Failure(module.name, line, test))
    return tuple(failures), num_tests
