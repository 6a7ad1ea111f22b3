"""What must hold before a version is promoted, and who has approved it: structs, and when changes are frozen. Pure."""

from __future__ import annotations

import re
import zoneinfo
from datetime import UTC, datetime, tzinfo
from typing import Annotated, Final, Literal

import msgspec

from divisions.names import LABEL_PATTERN, MAX_NAME_CHARS, NAME_RULE, is_name
from divisions.policy.engine import Reason

PRODUCTION: Final = "production"
REQUIREMENTS: Final = ("metrics", "lineage", "drift", "report", "trainer")
LINEAGE: Final = ("data_sha256", "code", "schema_sha256", "pipeline_sha256")
"""The facts without which a version cannot be made again."""
MOST_APPROVALS: Final = 10
MOST_WINDOWS: Final = 50
MAX_COMMENT_CHARS: Final = 500
LINE_PATTERN: Final = r"^[^\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]*$"
"""Of what a person writes beside a command: one line, without control characters and those that turn text around."""
APPROVAL_S: Final = 30 * 86_400.0
"""How long an approval counts."""
WINDOW_RULE: Final = "'Fri 16:00' (every week), or '2026-12-20 00:00' (once)"
_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_WEEKLY: Final = re.compile(rf"({'|'.join(_DAYS)}) ([01]\d|2[0-3]):([0-5]\d)", re.ASCII)
_DATED: Final = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d", re.ASCII)
TIME_PATTERN: Final = rf"^(?:{_WEEKLY.pattern}|{_DATED.pattern})$"
"""Of both ends of a freeze window, for JSON schemas."""
_DAY_MINUTES: Final = 24 * 60


class FreezeWindow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """From ``start`` on, and before ``end``, no weight rises. Both are of the clock on the wall in ``zone``."""

    start: str
    end: str
    zone: str = "UTC"

    def __str__(self) -> str:
        return f"{self.start} to {self.end} ({self.zone})"

    def has(self, now_s: float) -> bool:
        """Whether a moment (Unix time) is in it. A window that makes no sense has every moment.

        >>> weekend = FreezeWindow("Fri 16:00", "Mon 07:00", "Europe/Berlin")
        >>> weekend.has(1_800_000_000), weekend.has(1_800_000_000 + 86_400)  # Friday 09:00, and Saturday
        (False, True)
        """
        zone = zone_of(self.zone)
        if zone is None or self.problem():
            return True
        try:
            local = datetime.fromtimestamp(now_s, zone)
        except (OverflowError, OSError, ValueError):
            return True
        if _DATED.fullmatch(self.start):
            return self.start <= local.strftime("%Y-%m-%d %H:%M") < self.end
        minute = local.weekday() * _DAY_MINUTES + local.hour * 60 + local.minute
        start, end = _minute_of_week(self.start), _minute_of_week(self.end)
        return start <= minute < end if start < end else minute >= start or minute < end

    def problem(self) -> str:
        """Why it makes no sense; empty if it does."""
        for text in (self.start, self.end):
            if not _WEEKLY.fullmatch(text) and not _is_date(text):
                return f"{text[:40]!r} is no time: write {WINDOW_RULE}"
        if bool(_WEEKLY.fullmatch(self.start)) != bool(_WEEKLY.fullmatch(self.end)):
            return f"{self.start!r} is of every week or once, and {self.end!r} is not: write both alike"
        if self.start == self.end:
            return f"it is empty: it begins and ends at {self.start!r}"
        if _DATED.fullmatch(self.start) and self.start > self.end:
            return f"it ends before it begins: {self.start!r} is after {self.end!r}"
        return "" if zone_of(self.zone) else f"there is no time zone {self.zone[:40]!r}: write one like Europe/Berlin"


class PromotionPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What one pipeline asks for; ``policy`` of its file. The default asks for nothing.

    In the environment ``production`` nobody approves a version of their own. ``approvals`` is how many people must
    approve. ``require`` are some of `REQUIREMENTS`. ``registries`` are beginnings of addresses of which the cluster's
    store of bundles must have one, and ``images`` of the image that serves, which must be named by its digest.
    """

    environment: str = ""
    approvals: int = 0
    freeze: tuple[FreezeWindow, ...] = ()
    require: tuple[str, ...] = ()
    registries: tuple[str, ...] = ()
    images: tuple[str, ...] = ()

    def problem(self) -> str:
        """Why it makes no sense; empty if it does."""
        if self.environment and not is_name(self.environment):
            return f"environment must be {NAME_RULE}, such as production"
        if not 0 <= self.approvals <= MOST_APPROVALS:
            return f"approvals must be from 0 to {MOST_APPROVALS}, got {self.approvals}"
        if unknown := [name for name in self.require if name not in REQUIREMENTS]:
            return f"require knows {', '.join(REQUIREMENTS)}, not {unknown[0][:40]!r}"
        if max(map(len, (self.freeze, self.registries, self.images))) > MOST_WINDOWS:
            return f"freeze, registries and images have at most {MOST_WINDOWS} items each"
        if not all(is_registry(prefix) for prefix in self.registries):
            return "registries are addresses such as oci://registry.example.com/models"
        if not all(map(is_registry, self.images)):
            return "images are beginnings of names such as registry.example.com/divisions"
        return next((f"freeze: {wrong}" for window in self.freeze if (wrong := window.problem())), "")


NO_POLICY: Final = PromotionPolicy()


def is_line(text: str) -> bool:
    """Whether it is what `LINE_PATTERN` and `MAX_COMMENT_CHARS` allow.

    >>> is_line("reviewed, see #12"), is_line("two\\n")
    (True, False)
    """
    return len(text) <= MAX_COMMENT_CHARS and "\n" not in text and re.search(LINE_PATTERN, text) is not None


class Approval(msgspec.Struct, frozen=True):
    """Somebody has approved exactly this bundle as this version. ``role`` is the one that they had then. With
    ``report_sha256``, they have signed off the validation report with this hash."""

    endpoint: str
    version: str
    bundle_sha256: str
    name: str
    role: str
    at_s: float
    expires_s: float
    comment: str = ""
    report_sha256: str = ""


class GateStatus(msgspec.Struct, frozen=True):
    """How the latest rollout stands with its policy. ``reasons`` say what is missing for a promotion; empty if nothing
    is. ``is_waiting``: the evidence is a pass, and the rollout waits for the reasons only."""

    reasons: tuple[Reason, ...] = ()
    is_waiting: bool = False
    approvals_needed: int = 0
    approvals: tuple[Approval, ...] = ()


_NAME: Final = r"^[a-z0-9](?:\.?[a-z0-9_-])*\.?$"
_LABEL: Final = f"^{LABEL_PATTERN}$"
_SHA256: Final = "^(?:[0-9a-f]{64})?$"


class NewApproval(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A version to approve. With ``bundle_sha256``, only if it has this bundle. ``comment`` is one line. With
    ``report_sha256``, its validation report is signed off, if it is the one with this hash."""

    endpoint: Annotated[str, msgspec.Meta(pattern=_NAME, max_length=MAX_NAME_CHARS)]
    version: Annotated[str, msgspec.Meta(pattern=_LABEL, max_length=128)]
    bundle_sha256: Annotated[str, msgspec.Meta(pattern=_SHA256)] = ""
    comment: Annotated[str, msgspec.Meta(pattern=LINE_PATTERN, max_length=MAX_COMMENT_CHARS)] = ""
    report_sha256: Annotated[str, msgspec.Meta(pattern=_SHA256)] = ""


class RevokedApproval(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An approval to take back. ``name`` empty means the caller's own; only admins take back those of others."""

    endpoint: Annotated[str, msgspec.Meta(pattern=_NAME, max_length=MAX_NAME_CHARS)]
    version: Annotated[str, msgspec.Meta(pattern=_LABEL, max_length=128)]
    name: Annotated[str, msgspec.Meta(max_length=MAX_NAME_CHARS)] = ""


class ApprovalCommand(msgspec.Struct, frozen=True):
    """What a gateway sends to the controller."""

    verb: Literal["list", "approve", "revoke"]
    approve: NewApproval | None = None
    revoke: RevokedApproval | None = None


class ApprovalAnswer(msgspec.Struct, frozen=True):
    """The approvals that an answer is about."""

    approvals: tuple[Approval, ...] = ()


def is_registry(text: str) -> bool:
    return bool(text) and len(text) <= 300 and text.isprintable() and " " not in text


def zone_of(name: str) -> tzinfo | None:
    """A time zone by its name; None if there is none of that name."""
    if name == "UTC":
        return UTC
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return None


def _minute_of_week(text: str) -> int:
    day, hour, minute = text[:3], int(text[4:6]), int(text[7:9])
    return _DAYS.index(day) * _DAY_MINUTES + hour * 60 + minute


def _is_date(text: str) -> bool:
    if not _DATED.fullmatch(text):
        return False
    try:
        datetime.strptime(text, "%Y-%m-%d %H:%M")  # of the clock on the wall
    except ValueError:
        return False
    return True
