"""Reads the bins of a version's training data from its bundle. A file of some kilobytes, once per rollout."""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec

from divisions.bundle import REFERENCE
from divisions.control import VersionSpec
from router.evidence.drift import NO_BINS, InputBins

log = logging.getLogger(__name__)


def read_bins(version: VersionSpec) -> InputBins:
    """The bins; none when the bundle has no reference, or lies where this process cannot read it."""
    if not version.bundle_path:
        return NO_BINS
    try:
        return msgspec.json.decode((Path(version.bundle_path) / REFERENCE).read_bytes(), type=InputBins)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        log.info("no drift of inputs for %s: its reference cannot be read (%s)", version.app_name, type(error).__name__)
        return NO_BINS
