"""Which engine decides on this cluster, by its settings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from divisions.clock import Clock
from divisions.policy.decision_log import DecisionLog, LoggedEngine

if TYPE_CHECKING:
    from divisions.settings import Settings

LOG_NAME = "decisions.jsonl"


def policy_folder(settings: Settings) -> Path | None:
    """Where the owner's policies are; None if there are none. ``policy`` beside the home is one if it is there."""
    if settings.policy:
        return Path(settings.policy).expanduser().absolute()
    beside = settings.home.parent / "policy"
    return beside if beside.is_dir() else None


def open_engine(settings: Settings, clock: Clock) -> LoggedEngine | None:
    """The engine that is asked before anything is changed; None if no policy is configured.

    It is there at once, and refuses as long as its rules cannot be used.
    """
    log = DecisionLog(settings.home / LOG_NAME)
    if settings.opa_url:
        from divisions.policy.opa import OpaEngine

        return LoggedEngine(OpaEngine(settings.opa_url, clock=clock), log, clock)
    folder = policy_folder(settings)
    if folder is None:
        return None
    from divisions.policy.kept_engine import KeptEngine

    return LoggedEngine(KeptEngine(folder, clock), log, clock)
