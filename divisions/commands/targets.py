"""The file of targets, as commands name it."""

from pathlib import Path

TARGETS = Path(".divisions/targets.yaml")
