"""How well versions did on customers whose outcome is known. `trainers.outcomes` finds it; see docs/prediction-log.md.

The report of an endpoint is ``outcomes/<endpoint>.json`` of the home, for the controller and whoever asks.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from divisions.deployment import write_private

FOLDER: Final = "outcomes"


class Quality(msgspec.Struct, frozen=True):
    """One version's in one period; all of its time if ``period`` is empty.

    ``lower`` and ``upper`` are the 95 % interval of the AUC. ``worst_case`` is the upper bound that an AUC exceeds one
    time in a thousand: below the gate, there is an alert. None where there are too few outcomes of one kind.
    """

    version: str
    period: str
    predictions: int
    positives: int
    auc: float | None = None
    lower: float | None = None
    upper: float | None = None
    worst_case: float | None = None
    calibration_error: float | None = None
    calibration_lower: float | None = None
    calibration_upper: float | None = None


class VersionAlert(msgspec.Struct, frozen=True):
    """A version whose AUC is below ``gate``, since the outcomes that were added at ``since_s``."""

    version: str
    gate: float
    worst_case: float
    labels: int
    since_s: float
    is_told: bool = False


class OutcomesReport(msgspec.Struct, frozen=True):
    """Of one endpoint. ``gate`` is what the AUC had to pass, 0 without a gate.

    Of the labels, ``joined`` belong to a logged prediction, ``unknown`` to none, and ``early`` only to predictions that
    were made after them. ``ambiguous`` name a request of several rows.
    """

    endpoint: str
    at_s: float
    gate: float
    labels: int
    joined: int
    unknown: int
    early: int
    ambiguous: int
    versions: tuple[Quality, ...] = ()
    periods: tuple[Quality, ...] = ()
    alerts: tuple[VersionAlert, ...] = ()


def write_report(home: Path, report: OutcomesReport) -> None:
    """Raises: OSError: the disk is full, or fails."""
    folder = home / FOLDER
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_private(folder / f"{report.endpoint}.json", msgspec.json.encode(report))


def read_report(home: Path, endpoint: str) -> OutcomesReport | None:
    """The last report of an endpoint; None without one that can be read."""
    try:
        return msgspec.json.decode((home / FOLDER / f"{endpoint}.json").read_bytes(), type=OutcomesReport)
    except (OSError, msgspec.MsgspecError):
        return None


def read_reports(home: Path) -> tuple[OutcomesReport, ...]:
    """The last report of every endpoint."""
    names = sorted(path.stem for path in (home / FOLDER).glob("*.json"))
    return tuple(report for name in names if (report := read_report(home, name)) is not None)
