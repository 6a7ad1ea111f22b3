"""Work that needs Ray, done in a process of its own, whose steps a command shows.

A call to a cluster that hangs may never return, and Ray may end the process that makes it. So the process prints a line
of JSON for each step, and is killed when it has been silent for too long. It ends with its parent.
"""

from __future__ import annotations

import contextlib
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

import msgspec

from deploy.supervision.crash import find_cause
from deploy.supervision.descendants import end_with_parent
from divisions.clock import Clock
from divisions.error_names import BY_NAME
from divisions.errors import ClusterError, DivisionsError
from divisions.progress import Progress, step

SILENCE_S = 75.0
"""How long a process may say nothing. A step that waits for something longer says so with a `Beat`."""


class Step(msgspec.Struct, frozen=True, tag=True):
    """A step begins; the one before has ended."""

    name: str


class Beat(msgspec.Struct, frozen=True, tag=True):
    """The step goes on."""


class Notice(msgspec.Struct, frozen=True, tag=True):
    """What people should know."""

    text: str


class Done(msgspec.Struct, frozen=True, tag=True):
    """All steps have ended; ``values`` is the result."""

    values: dict[str, str]


class Failure(msgspec.Struct, frozen=True, tag=True):
    """A step has failed with an error of ours."""

    code: str
    message: str
    remedy: str


Line = Step | Beat | Notice | Done | Failure


def say(line: Line) -> None:
    """Tells the parent. The process's other output goes to a log."""
    sys.stdout.write(msgspec.json.encode(line).decode() + "\n")
    sys.stdout.flush()


def report(work: Callable[[], Mapping[str, str]]) -> int:
    """Runs the work of such a process; returns its exit status."""
    try:
        say(Done(dict(work())))
    except DivisionsError as error:
        say(Failure(type(error).__name__, error.message, error.remedy))
        return 1
    return 0


def follow(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    log_path: Path,
    progress: Progress,
    clock: Clock,
    silence_s: float = SILENCE_S,
) -> Mapping[str, str]:
    """Runs ``python ARGUMENTS`` and shows its steps; returns its result.

    Raises:
        DivisionsError: a step failed, or the process ended or fell silent.
    """
    log_path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _running(arguments, environment, log_path) as lines:
        latest: Line = Step("Connect to Ray")
        while True:
            match latest:
                case Step(name):
                    with step(progress, clock, name):
                        latest = _next(lines, name, log_path, silence_s)
                        if isinstance(latest, Failure):
                            raise _error(latest)
                case Notice(text):
                    progress.notice(text)
                    latest = _next(lines, text, log_path, silence_s)
                case Failure():
                    raise _error(latest)
                case Done(values):
                    return values
                case Beat():  # the first line only; `_next` skips them
                    latest = _next(lines, "", log_path, silence_s)


@contextlib.contextmanager
def _running(
    arguments: Sequence[str], environment: Mapping[str, str], log_path: Path
) -> Iterator[queue.Queue[Line | None]]:
    with log_path.open("wb") as log:
        # preexec_fn is safe: the child only asks the kernel for a signal.
        process = subprocess.Popen(
            [sys.executable, *arguments],
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            preexec_fn=end_with_parent,  # noqa: PLW1509
            start_new_session=True,  # a Ctrl-C in the terminal must reach us only
        )
    assert process.stdout is not None
    lines: queue.Queue[Line | None] = queue.Queue()
    reader = threading.Thread(target=_read, args=(process.stdout, lines), daemon=True)
    reader.start()
    try:
        yield lines
    finally:
        process.kill()
        process.wait()


def _read(stream: IO[bytes], lines: queue.Queue[Line | None]) -> None:
    for text in stream:
        with contextlib.suppress(msgspec.MsgspecError):  # a line that a library has printed
            lines.put(msgspec.json.decode(text, type=Line))
    lines.put(None)


def _next(lines: queue.Queue[Line | None], name: str, log_path: Path, silence_s: float) -> Line:
    remedy = f"see {log_path}"
    line: Line | None = Beat()
    try:
        while isinstance(line, Beat):
            line = lines.get(timeout=silence_s)
    except queue.Empty:
        raise ClusterError(f"{name}: the cluster has not answered for {silence_s:g} s", remedy=remedy) from None
    if line is None:
        cause = find_cause(log_path.read_text(errors="replace").splitlines()) or "its process ended"
        raise ClusterError(f"{name}: {cause}", remedy=remedy)
    return line


def _error(failure: Failure) -> DivisionsError:
    kind = BY_NAME.get(failure.code, ClusterError)
    return kind(failure.message, remedy=failure.remedy)
