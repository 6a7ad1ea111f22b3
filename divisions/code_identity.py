"""Which code is installed here: a version for people, and a digest that differs with any line of it.

All nodes of a cluster must run the same code. The version alone does not tell: a wheel may be built twice from
different sources with one version.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
from collections.abc import Iterable
from pathlib import Path

from divisions import __version__

PACKAGES = ("divisions", "serving", "router", "trainers", "deploy")
_SUFFIXES = frozenset({".py", ".html", ".css", ".js"})
_SHOWN = 10


@functools.lru_cache(maxsize=1)
def code_identity() -> str:
    """``0.1.0 (1f0c88a1b2)``: the version, and the digest of every file of the packages."""
    return f"{__version__} ({digest_of(_folders())[:_SHOWN]})"


def digest_of(folders: Iterable[tuple[str, Path]]) -> str:
    """The digest of the sources in ``folders``, each with the name that it is known by; not of what is built there."""
    total = hashlib.sha256()
    for name, folder in folders:
        for path in sorted(folder.rglob("*")):
            inside = path.relative_to(folder)
            if path.suffix in _SUFFIXES and "_native" not in inside.parts and path.is_file():
                content = hashlib.sha256(path.read_bytes()).digest()
                total.update(f"{name}/{inside.as_posix()}\0".encode() + content)
    return total.hexdigest()


def _folders() -> list[tuple[str, Path]]:
    found: list[tuple[str, Path]] = []
    for package in PACKAGES:
        spec = importlib.util.find_spec(package)
        found += [(package, Path(folder)) for folder in (spec.submodule_search_locations or ())] if spec else []
    return found
