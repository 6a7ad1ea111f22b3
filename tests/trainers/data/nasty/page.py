"""The page docs/nasty-inputs.md, from the cases."""

from __future__ import annotations

from pathlib import Path

from tests.trainers.data.nasty import columns, files, numbers, times

PAGE = Path(__file__).parents[4] / "docs" / "nasty-inputs.md"
CASES = [
    ("Event times", times.CASES),
    ("Numbers", numbers.CASES),
    ("Columns", columns.CASES),
    ("Files and folders", files.CASES),
]
HEAD = """# Nasty inputs

Raw data as other systems write them, and what a run makes of them: the right values, or one clear line. Nothing passes
silently. *Told* means a note in the run's report, with the key that declares or overrules. A test reads each of these
inputs and holds this page to them (`tests/trainers/data/test_nasty_inputs.py`).
"""


def render() -> str:
    parts = [HEAD]
    for title, cases in CASES:
        parts.append(f"\n## {title}\n| input | written by | what comes out |\n|---|---|---|\n")
        parts += [f"| {_cell(case.what)} | {case.by} | {_cell(case.comes)} |\n" for case in cases]
    return "".join(parts)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace(".*", " ... ")
