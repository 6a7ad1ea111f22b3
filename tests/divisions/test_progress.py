"""A run's progress as lines: which epochs are told, how steps end, and what a broken pipe does."""

from __future__ import annotations

import contextlib
import io

import pytest

from divisions.clock import ManualClock
from divisions.progress import LineProgress, step


def told(num_epochs: int) -> list[int]:
    stream = io.StringIO()
    progress = LineProgress(stream)
    for epoch in range(1, num_epochs + 1):
        progress.epoch_finished(epoch, num_epochs, {"loss": 0.5})
    return [int(line.split("/")[0].split()[-1]) for line in stream.getvalue().splitlines()]


@pytest.mark.parametrize(
    ("num_epochs", "epochs"),
    [
        (1, [1]),
        (9, list(range(1, 10))),
        (10, list(range(1, 11))),
        (25, [2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 25]),
        (100, list(range(10, 101, 10))),
        (105, [*range(10, 101, 10), 105]),
    ],
)
def test_about_ten_epochs_are_told_and_always_the_last(num_epochs, epochs):
    assert told(num_epochs) == epochs


def test_an_epoch_shows_its_numbers_but_not_the_learning_rate():
    stream = io.StringIO()
    LineProgress(stream).epoch_finished(3, 3, {"loss": 0.51236, "learning_rate": 0.001, "auc": 0.9})
    assert stream.getvalue() == "  epoch 3/3: loss 0.5124, auc 0.9000\n"


def test_a_step_is_told_with_its_duration_and_detail():
    stream, clock = io.StringIO(), ManualClock(monotonic_s=7.0)
    with step(LineProgress(stream), clock, "training") as current:
        clock.advance(2.5)
        current.detail = "9 epochs"
    with step(LineProgress(stream), clock, "export"):
        clock.advance(0.25)
    with contextlib.suppress(ValueError), step(LineProgress(stream), clock, "upload"):
        clock.advance(1.0)
        raise ValueError("no")
    LineProgress(stream).notice("look here")
    assert stream.getvalue().splitlines() == [
        "training ...",
        "training: done in 2.5 s (9 epochs)",
        "export ...",
        "export: done in 0.2 s",
        "upload ...",
        "upload: failed after 1.0 s",
        "note: look here",
    ]


class Recorded(io.StringIO):
    """Remembers how much was written when it was flushed last."""

    flushed = 0
    is_broken = False

    def write(self, text):
        if self.is_broken:
            raise BrokenPipeError
        return super().write(text)

    def flush(self):
        self.flushed = len(self.getvalue())


def test_each_line_is_seen_at_once_and_a_closed_pipe_does_not_end_the_run():
    stream = Recorded()
    progress = LineProgress(stream)
    progress.notice("a line")
    assert stream.flushed == len("note: a line\n")
    stream.is_broken = True
    progress.notice("another")


def test_each_line_is_one_write_as_threads_would_mix_parts_of_lines():
    class Writes(io.StringIO):
        def __init__(self) -> None:
            super().__init__()
            self.parts: list[str] = []

        def write(self, text: str) -> int:
            self.parts.append(text)
            return len(text)

    stream = Writes()
    LineProgress(stream).notice("a node was lost")
    assert stream.parts == ["note: a node was lost\n"]
