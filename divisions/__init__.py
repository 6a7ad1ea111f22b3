"""Divisions: from raw events to a canaried prediction endpoint on one Ray cluster."""

from __future__ import annotations

__version__ = "0.1.0"
