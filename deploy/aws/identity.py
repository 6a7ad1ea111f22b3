"""Who we are at AWS. Pure."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass

_METHODS = {
    "assume-role": "assumed role",
    "assume-role-with-web-identity": "web identity",
    "config-file": "configuration file",
    "container-role": "container's role",
    "custom-process": "credential process",
    "env": "environment",
    "iam-role": "instance's role",
    "shared-credentials-file": "credentials file",
    "sso": "SSO",
}


@dataclass(frozen=True, slots=True)
class Caller:
    """Who AWS says that we are.

    ``method`` is how the credentials were found, as botocore names it. ``expires_at`` is when they end; None if they do
    not, or if nothing says so.
    """

    arn: str
    account: str
    method: str
    expires_at: dt.datetime | None = None

    def __str__(self) -> str:
        until = f", until {self.expires_at.astimezone():%H:%M}" if self.expires_at is not None else ""
        return f"{self.arn} ({_METHODS.get(self.method, self.method)}{until})"


def session_name(who: str) -> str:
    """A name for a session of a role: 2 to 64 characters that STS takes.

    >>> session_name("ann müller@laptop"), session_name("é")
    ('ann-m-ller@laptop', 'divisions')
    """
    cleaned = re.sub(r"[^A-Za-z0-9+=,.@_-]+", "-", who).strip("-")[:64]
    return cleaned if len(cleaned) > 1 else "divisions"
