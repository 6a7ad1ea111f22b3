"""From a version to its data, code and environment, and from data back to versions. Pure.

A registered version keeps these facts as tags (`trainers.export.lineage` writes them).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from divisions.versions import RegisteredVersion

_PARTITION: Final = "partition="
_MIN_DIGEST_CHARS: Final = 8
_SECTIONS: Final = {
    "Data": ("input_uri", "partition", "data_sha256", "rows_read", "rows_quarantined", "customers"),
    "Features": ("schema_sha256", "offline_features", "newest_features"),
    "Code": ("code", "git_commit", "pipeline_sha256", "parent_version", "registered_from", "trained_by", "trainer"),
    "Report": ("report_sha256",),
    "Import": ("imported_from", "imported_sha256"),
    "Environment": ("python", "packages"),
}


def sections(version: RegisteredVersion) -> list[tuple[str, list[tuple[str, str]]]]:
    """The facts of a version by section, in reading order; what is in no section is in ``Other``. None is left out."""
    facts = dict(version.lineage)
    found = [("Run", [("run_id", version.run_id), ("bundle_sha256", version.bundle_sha256)])]
    for title, names in _SECTIONS.items():
        found.append((title, [(name, facts.pop(name)) for name in names if name in facts]))
    found.append(("Other", sorted(facts.items())))
    return [(title, rows) for title, rows in found if rows]


def used_by(versions: Iterable[RegisteredVersion], data: str) -> list[RegisteredVersion]:
    """The versions that have learned from this data, or were judged by it.

    Args:
        data: a partition (``2025-01-14`` or ``partition=2025-01-14``), an input as the run has read it, or at least
            eight digits of the content hash.
    """
    partition, uri = data.removeprefix(_PARTITION), data.rstrip("/")
    is_digest = len(data) >= _MIN_DIGEST_CHARS and not set(data) - set("0123456789abcdef")

    def uses(version: RegisteredVersion) -> bool:
        facts = version.lineage
        if facts.get("partition") == partition or facts.get("input_uri", "").rstrip("/") == uri:
            return bool(data)
        return is_digest and facts.get("data_sha256", "").startswith(data)

    return [version for version in versions if uses(version)]
