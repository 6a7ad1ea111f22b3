"""The diagram in the documentation is the state machine's."""

from pathlib import Path

import pytest

from router.rollouts import diagram
from router.rollouts.canary import TRANSITIONS

DOCUMENT = Path(__file__).parents[3] / "docs" / "rollouts.md"


def test_the_document_is_up_to_date():
    text = DOCUMENT.read_text()
    assert diagram.redrawn(text) == text, "run `python -m router.rollouts.diagram`"


def test_every_transition_is_on_an_arrow():
    drawn = diagram.diagram().splitlines()
    for each in TRANSITIONS:
        (arrow,) = [line for line in drawn if line.startswith(f"    {each.source.value} --> {each.target.value}:")]
        assert each.cause in arrow
    assert "    [*] --> PENDING" in drawn
    assert [line for line in drawn if line.endswith("--> [*]")] == ["    PROMOTED --> [*]", "    ROLLED_BACK --> [*]"]


def test_a_document_without_marks_is_refused():
    with pytest.raises(ValueError, match="marks"):
        diagram.redrawn("no marks")
