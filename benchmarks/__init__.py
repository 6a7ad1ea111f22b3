"""Benchmarks: load, and what is measured under it. ``python -m benchmarks.compare`` runs one by its name.

A command is a module of the same name in its wing; the path below lets Python find it without the wing's name. Imports
name the wing.
"""

from pathlib import Path

_COMMANDS = ("lab", "peers", "engines", "canaries", "stress", "reports")
"""Wings that hold commands. `benchmarks.load`, `benchmarks.demo` and `benchmarks.engines` are wings and commands."""

__path__ += [str(Path(__file__).with_name(wing)) for wing in _COMMANDS]
