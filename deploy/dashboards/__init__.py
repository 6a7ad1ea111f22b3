"""Dashboards for Grafana: what they show is in `panels.py`, as JSON they lie beside it.

In: nothing. Out: JSON files, which Grafana imports. `python -m deploy.dashboards.render` writes them anew.
"""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent
"""Has the dashboards, one JSON file each."""
