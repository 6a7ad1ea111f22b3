"""Runs tests against mutants, each in a copy of the tree: the sources at hand are never touched."""

from __future__ import annotations

import contextlib
import enum
import functools
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.mutants.targets import SLOW, Mutant, neighbouring_tests, own_tests

COPIED = ("divisions", "router", "serving", "trainers", "benchmarks", "deploy", "tests", "docs", "examples",
          "pyproject.toml", ".divisions/pipeline")  # fmt: skip
SLOWER = 3.0
"""How many times as long as without the mutation tests may take; a mutant that makes them slower is killed."""
SPARE_S = 15.0
_OPTIONS = (
    *("-x", "-q", "-p", "no:randomly", "-p", "no:cacheprovider", "-m", "not e2e and not gpu"),
    *("--hypothesis-seed=0", "--hypothesis-profile=quick"),
)
_LONGEST_S = 600.0


class Fate(enum.StrEnum):
    KILLED = "killed"
    TIMED_OUT = "timed out"
    SURVIVED = "survived"
    UNKNOWN = "unknown"
    """Its tests fail without the mutation, too."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How one mutant ended, and by which tests."""

    mutant: Mutant
    fate: Fate
    by: tuple[str, ...]


class Baselines:
    """Whether tests pass without a mutation, and how long they take then; shared by all runners.

    They are measured before the first mutation that they are to notice. So a mutant that loops for ever costs a few
    times as long as its tests, and not `_LONGEST_S`.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._locks: dict[tuple[str, ...], threading.Lock] = {}
        self._took_s: dict[tuple[str, ...], float | None] = {}

    def limit_s(self, tests: tuple[str, ...], run: Callable[[], bool | None]) -> float | None:
        """How long the tests may take with a mutation; None if they fail without one. Runs them the first time."""
        with self._lock:
            lock = self._locks.setdefault(tests, threading.Lock())
        with lock:
            if tests not in self._took_s:
                began_s = time.monotonic()
                is_sound = run() is True
                self._took_s[tests] = time.monotonic() - began_s if is_sound else None
            took_s = self._took_s[tests]
        return None if took_s is None else took_s * SLOWER + SPARE_S


class Runner:
    """One copy of the tree below ``work``."""

    def __init__(self, root: Path, work: Path, baselines: Baselines) -> None:
        self._tree = work / "tree"
        self._baselines = baselines
        self._second = 0
        for name in COPIED:
            source = root / name
            if source.is_dir():
                ignored = shutil.ignore_patterns("__pycache__", "_native", "state")
                shutil.copytree(source, self._tree / name, ignore=ignored)
            elif source.exists():
                (self._tree / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, self._tree / name)

    def verdict(self, mutant: Mutant) -> Verdict:
        """Runs a module's own tests, and if these do not notice, its neighbours'."""
        path = self._tree / mutant.module
        original = path.read_bytes()
        for tests in (own_tests(self._tree, mutant.module), neighbouring_tests(self._tree, mutant.module)):
            if not tests:
                continue
            limit_s = self._baselines.limit_s(tests, functools.partial(self._run, tests, _LONGEST_S))
            if limit_s is None:
                return Verdict(mutant, Fate.UNKNOWN, tests)
            try:
                self._write(path, mutant.mutation.applied(original))
                passed = self._run(tests, limit_s)
            finally:
                self._write(path, original)
            if passed is not True:
                return Verdict(mutant, Fate.TIMED_OUT if passed is None else Fate.KILLED, tests)
        return Verdict(mutant, Fate.SURVIVED, ())

    def _write(self, path: Path, source: bytes) -> None:
        """Python knows byte code by the size and the second of its source, so each source gets a second of its own."""
        path.write_bytes(source)
        self._second += 1
        os.utime(path, (self._second, self._second))

    def _run(self, tests: Sequence[str], limit_s: float) -> bool | None:
        """Whether all tests passed; None if they took too long."""
        environment = os.environ | {"PYTHONPATH": str(self._tree)}
        process = subprocess.Popen(
            [sys.executable, "-m", "pytest", *_OPTIONS, *(f"--ignore={each}" for each in SLOW), *tests],
            cwd=self._tree,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            return process.wait(limit_s) == 0
        except subprocess.TimeoutExpired:
            return None
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends what a test left running, too: it is in the same process group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
