"""Draws the diagram of docs/rollouts.md from the state machine's own table::

    python -m router.rollouts.diagram docs/rollouts.md

It replaces the text between the two marks. A test fails when the document is out of date.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from router.rollouts.canary import TRANSITIONS, Transition

BEGIN = "<!-- drawn by python -m router.rollouts.diagram; do not edit -->"
END = "<!-- end of the drawing -->"


def diagram(transitions: Sequence[Transition] = TRANSITIONS) -> str:
    """The table as a Mermaid state diagram, which GitHub draws. Two phases have one arrow, with all its causes."""
    causes: dict[tuple[str, str], list[str]] = {}
    for each in transitions:
        causes.setdefault((each.source.value, each.target.value), []).append(each.cause)
    first = transitions[0].source.value
    sources = {source for source, _ in causes}
    lines = ["stateDiagram-v2", f"    [*] --> {first}"]
    lines += [f"    {source} --> {target}: {' / '.join(found)}" for (source, target), found in causes.items()]
    lines += [
        f"    {target} --> [*]" for target in dict.fromkeys(target for _, target in causes) if target not in sources
    ]
    return "\n".join(("```mermaid", *lines, "```"))


def redrawn(document: str) -> str:
    """The document with the present diagram.

    Raises:
        ValueError: the document lacks the marks.
    """
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the document lacks the marks {BEGIN!r} and {END!r}")
    return f"{before}{BEGIN}\n{diagram()}\n{END}{after}"


if __name__ == "__main__":
    path = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/rollouts.md")
    path.write_text(redrawn(path.read_text()))
