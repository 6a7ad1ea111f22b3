"""Benchmarks: load generation, and what is measured with it. ``python -m benchmarks.compare`` runs one by its name.

A command is the module of that name, in whichever wing it lies: the path below lets ``python -m`` find it. Imports name
the wing.
"""

from pathlib import Path

_COMMANDS = ("lab", "peers", "engines", "canaries", "stress", "reports")
"""Wings that hold commands. `benchmarks.load`, `benchmarks.demo` and `benchmarks.engines` are wings and commands."""

__path__ += [str(Path(__file__).with_name(wing)) for wing in _COMMANDS]
