"""Progress on a terminal: a spinner for the current step, a bar for epochs. Elsewhere plain lines."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as RichBars

    from divisions.progress import Progress


class TerminalProgress:
    """Shows steps on a terminal; implements `divisions.progress.Progress`."""

    def __init__(self, console: Console, bars: RichBars) -> None:
        self._console = console
        self._bars = bars
        self._tasks: list[int] = []

    def step_started(self, name: str) -> None:
        self._tasks.append(self._bars.add_task(name, total=None, detail=""))

    def step_finished(self, name: str, seconds: float, detail: str) -> None:
        self._end(f"[green]✓[/] {_escaped(name)} [dim]{seconds:.1f} s{f' · {_escaped(detail)}' if detail else ''}[/]")

    def step_failed(self, name: str, seconds: float) -> None:
        self._end(f"[red]✗[/] {_escaped(name)} [dim]{seconds:.1f} s[/]")

    def epoch_finished(self, epoch: int, num_epochs: int, metrics: Mapping[str, float]) -> None:
        numbers = ", ".join(f"{name} {value:.4f}" for name, value in metrics.items() if name != "learning_rate")
        if self._tasks:
            self._bars.update(self._tasks[-1], completed=epoch, total=num_epochs, detail=numbers)  # type: ignore[arg-type]

    def notice(self, text: str) -> None:
        self._console.print(f"[yellow]note:[/] {_escaped(text)}")

    def _end(self, line: str) -> None:
        if self._tasks:
            self._bars.remove_task(self._tasks.pop())  # type: ignore[arg-type]
        self._console.print(line)


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)


@contextlib.contextmanager
def shown_progress(stream: TextIO | None = None) -> Iterator[Progress]:
    """Shows progress on ``stream``. The default is standard output."""
    stream = sys.stdout if stream is None else stream
    if not stream.isatty():
        from divisions.progress import LineProgress

        yield LineProgress(stream)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(file=stream, highlight=False)
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TimeElapsedColumn(),
        TextColumn("[dim]{task.fields[detail]}"),
    )
    with Progress(*columns, console=console, transient=True) as bars:
        yield TerminalProgress(console, bars)
