"""What a registry says when it refuses, and what helps. Pure."""

from __future__ import annotations

import json


def error_text(content: bytes) -> str:
    """The first error of a registry's reply: its code and message."""
    try:
        first = json.loads(content)["errors"][0]
        text = f"{first['code']}: {first.get('message', '')}"
    except (ValueError, LookupError, TypeError, AttributeError):
        return ""
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())[:200]


def remedy_of(status: int) -> str:
    match status:
        case 401:
            return "log in with docker or podman login, or check the password"
        case 403:
            return "ask for the right to pull from and push to this repository"
        case 404:
            return "create the repository, or check its name"
        case 429:
            return "the registry limits requests: try again later"
        case _ if status >= 500:
            return "try again when the registry works; what was pushed is kept"
        case _:
            return "check DIVISIONS_ARTIFACTS, and that the registry takes OCI artifacts"
