"""What is known of a bundle when statements about it are made. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field

from divisions.bundle import Manifest, bundle_address


@dataclass(frozen=True, slots=True)
class BundleFacts:
    """Everything follows from the bundle and its run, so that statements are the same whoever makes them, and when.

    Attributes:
        lineage: of the registered version (`trainers.export.lineage`).
        params: of the run.
        started_at_s: of the run; seconds since the Unix epoch, 0 if it is unknown.
        trained_by: the run. A bundle of format 1 names its own.
    """

    manifest: Manifest
    lineage: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    started_at_s: float = 0.0
    trained_by: str = ""

    @property
    def sha256(self) -> str:
        return self.manifest.sha256

    @property
    def address(self) -> str:
        return bundle_address(self.manifest.model, self.sha256)

    @property
    def run_id(self) -> str:
        return self.manifest.run_id or self.trained_by

    @property
    def input_uri(self) -> str:
        return self.manifest.input_uri or self.lineage.get("input_uri", "")

    @property
    def created_at(self) -> str:
        """ISO 8601 in UTC: when the bundle was made, or when its run began; empty if neither is known."""
        if self.manifest.created_at or not self.started_at_s:
            return self.manifest.created_at
        return dt.datetime.fromtimestamp(self.started_at_s, dt.UTC).isoformat(timespec="seconds")

    @property
    def packages(self) -> dict[str, str]:
        """The versions of the libraries that trained it, by name; empty for models of earlier releases."""
        pairs = (each.partition("==") for each in self.lineage.get("packages", "").split())
        return {name: version for name, _, version in pairs if name and version}
