"""How a run reports its progress: steps with their duration, epochs, and notices."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Protocol, TextIO

from divisions.clock import Clock


class Progress(Protocol):
    """Shows a run's progress: as lines, as bars, or as a list in a test."""

    def step_started(self, name: str) -> None: ...

    def step_finished(self, name: str, seconds: float, detail: str) -> None: ...

    def step_failed(self, name: str, seconds: float) -> None:
        """The run's error tells the reason."""
        ...

    def epoch_finished(self, epoch: int, num_epochs: int, metrics: Mapping[str, float]) -> None:
        """``epoch`` counts from 1."""
        ...

    def notice(self, text: str) -> None:
        """Information that is not an error."""
        ...


class Step:
    """The result of a step in progress; ``detail`` is shown when the step ends."""

    detail: str = ""


@contextlib.contextmanager
def step(progress: Progress, clock: Clock, name: str) -> Iterator[Step]:
    """Reports the block as one step."""
    progress.step_started(name)
    started_s = clock.monotonic_s()
    current = Step()
    try:
        yield current
    except BaseException:
        progress.step_failed(name, clock.monotonic_s() - started_s)
        raise
    progress.step_finished(name, clock.monotonic_s() - started_s, current.detail)


class LineProgress:
    """Plain lines, for logs and pipes. It writes only about ten of the epochs, so that a log stays readable."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def step_started(self, name: str) -> None:
        self._write(f"{name} ...")

    def step_finished(self, name: str, seconds: float, detail: str) -> None:
        self._write(f"{name}: done in {seconds:.1f} s{f' ({detail})' if detail else ''}")

    def step_failed(self, name: str, seconds: float) -> None:
        self._write(f"{name}: failed after {seconds:.1f} s")

    def epoch_finished(self, epoch: int, num_epochs: int, metrics: Mapping[str, float]) -> None:
        if epoch == num_epochs or epoch % max(1, num_epochs // 10) == 0:
            numbers = ", ".join(f"{name} {value:.4f}" for name, value in metrics.items() if name != "learning_rate")
            self._write(f"  epoch {epoch}/{num_epochs}: {numbers}")

    def notice(self, text: str) -> None:
        self._write(f"note: {text}")

    def _write(self, line: str) -> None:
        # Progress is not the result: a full disk or a closed pipe must not end the work.
        with contextlib.suppress(OSError):
            # One write per line: threads write here, and print would write the line's end apart.
            self._stream.write(f"{line}\n")
            self._stream.flush()
