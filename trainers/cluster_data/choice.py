"""Whether an input is read over the nodes of the cluster, and into which parts it is cut. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from divisions.pipeline.definition import Distribution
from trainers.data.csv_ranges import ByteRange

MEMORY_SHARE = 4.0
"""An input of more than this many times the engine's memory is read over several nodes. Up to there, one machine
spills a few times its memory to disk, and is not slower than sending the rows around."""
_GB = 1e9


@dataclass(frozen=True, slots=True)
class Choice:
    """``note`` says why, for the run's report."""

    is_distributed: bool
    note: str


def choose_nodes(num_bytes: int, memory_gb: float, num_nodes: int, wanted: Distribution, obstacle: str = "") -> Choice:
    """Decides by the size of the input.

    Args:
        num_bytes: of all files.
        memory_gb: what one engine may use.
        num_nodes: of the cluster.
        wanted: the pipeline file's ``data_prep.distributed``.
        obstacle: why this input cannot be read over several nodes; empty if it can.

    >>> choose_nodes(9_000_000_000, 2.0, 3, Distribution.AUTO).note
    'read over 3 nodes: 9.0 GB are more than 4 times the 2 GB of one engine'
    """
    size, limit = num_bytes / _GB, MEMORY_SHARE * memory_gb
    compared = f"{size:.1f} GB are {'more' if size > limit else 'not more'} than {MEMORY_SHARE:g} times the" + (
        f" {memory_gb:g} GB of one engine"
    )
    match wanted:
        case Distribution.NEVER:
            return Choice(False, "read on one node: data_prep.distributed is never")
        case Distribution.ALWAYS if not obstacle:
            return Choice(True, f"read over {num_nodes} nodes: data_prep.distributed is always")
        case Distribution.AUTO if size <= limit:
            return Choice(False, f"read on one node: {compared}")
        case Distribution.AUTO if num_nodes < 2:
            return Choice(False, f"read on one node: {compared}, but the cluster has no other node")
    if obstacle:
        return Choice(False, f"read on one node: {obstacle}")
    return Choice(True, f"read over {num_nodes} nodes: {compared}")


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file of the input. ``num_rows`` is None where rows cannot be counted without reading it, as in CSV.

    ``has_lines``: ranges of its bytes can be read, as those of a CSV file that begins like a plain one.
    """

    index: int
    num_bytes: int
    num_rows: int | None = None
    has_lines: bool = False


@dataclass(frozen=True, slots=True)
class Part:
    """What one task reads: whole files; or of a single one the rows ``first`` to ``last``, counted from 1, or the
    ``lines`` that begin in a range of bytes."""

    indices: tuple[int, ...]
    first: int = 1
    last: int | None = None
    lines: ByteRange | None = None


def cut(files: Sequence[InputFile], num_parts: int) -> list[Part]:
    """Cuts an input into about ``num_parts`` parts of about the same size. Files stay in order.

    >>> for part in cut([InputFile(0, 10), InputFile(1, 10), InputFile(2, 20, 50), InputFile(3, 40, None, True)], 4):
    ...     print(part.indices, part.first, part.last, part.lines)
    (0, 1) 1 None None
    (2,) 1 None None
    (3,) 1 None ByteRange(first=0, end=20)
    (3,) 1 None ByteRange(first=20, end=40)
    """
    target = max(1, sum(file.num_bytes for file in files) // max(1, num_parts))
    parts: list[Part] = []
    gathered: list[int] = []
    size = 0
    for file in files:
        pieces = -(-file.num_bytes // target) if file.num_rows or file.has_lines else 1
        if gathered and (pieces > 1 or size + file.num_bytes > target):
            parts.append(Part(tuple(gathered)))
            gathered, size = [], 0
        if pieces > 1 and file.num_rows:
            step = -(-file.num_rows // pieces)
            parts += [
                Part((file.index,), first, min(first + step - 1, file.num_rows))
                for first in range(1, file.num_rows + 1, step)
            ]
        elif pieces > 1:
            step = -(-file.num_bytes // pieces)
            starts = range(0, file.num_bytes, step)
            parts += [Part((file.index,), lines=ByteRange(at, min(at + step, file.num_bytes))) for at in starts]
        else:
            gathered.append(file.index)
            size += file.num_bytes
    return [*parts, Part(tuple(gathered))] if gathered else parts
