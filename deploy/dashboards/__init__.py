"""Dashboards for Grafana: what they show is in `panels.py`, as JSON they lie beside it.

In: nothing. Out: JSON files, which Grafana imports. `python -m deploy.dashboards.render` writes them anew.
"""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent
"""Has the dashboards, one JSON file each."""


def texts() -> dict[str, str]:
    """The dashboards as JSON, by the name of their file."""
    return {path.name: path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*.json"))}
