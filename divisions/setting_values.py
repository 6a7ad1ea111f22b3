"""What the text of a ``DIVISIONS_*`` variable means: the kind of each setting, its range, its value. Pure."""

from __future__ import annotations

import difflib
import re

from divisions.errors import SettingsError
from divisions.store_url import parse_store_url

PREFIX = "DIVISIONS_"
_PORTS = (1, 65_535)
_INTEGERS = {  # the least and the greatest value of each
    "port": _PORTS,
    "gateways": (0, 64),
    "metrics_port": (0, 65_000),
    "prometheus_port": (0, 65_535),
    "dashboard_port": _PORTS,
    "gcs_port": _PORTS,
    "max_body_bytes": (1, 1 << 30),
    "request_timeout_ms": (1, 600_000),
    "idle_timeout_s": (1, 86_400),
    "artifact_cache_mb": (1, 1_000_000_000),
}
_BOOLEANS = {"allow_faults", "channel_tls", "compiled", "require_key", "schedule", "traces"}
_LISTS = {"allow_buckets", "allowed_hosts", "links", "public_sections", "trusted_keys", "webhook_events"}
_TEXTS = {
    "artifacts",
    "channel_ca",
    "channel_host",
    "database",
    "environment",
    "gateway",
    "host",
    "image",
    "node_host",
    "oidc_file",
    "online_store",
    "opa_url",
    "policy",
    "serve_endpoint",
    "serve_sha256",
    "serve_version",
    "tls_ca",
    "tls_cert",
    "tls_key",
    "tracking_uri",
    "wandb_project",
    "webhook_file",
    "webhook_kind",
}
_CHOICES = {
    "public_sections": (
        "all",
        "status",
        "about",
        "sources",
        "live",
        "history",
        "stages",
        "pipelines",
        "registry",
        "runs",
        "pods",
        "rollouts",
        "deployments",
        "drift",
        "curves",
    ),
    "webhook_events": ("rolled-back", "held", "promoted", "drift", "run-failed", "outcomes"),
    "webhook_kind": ("slack", "alertmanager"),
}
"""What a text, or each item of a list, may be."""
_LINK = re.compile(r"(mlflow|ray|prometheus|grafana)=(https?://[^\s/@?#]+(?:[/?#]\S*)?)?")
KNOWN = {"home"} | set(_INTEGERS) | _BOOLEANS | _LISTS | _TEXTS
"""The fields of `divisions.settings.Settings` that a variable sets."""
_DATABASES = ("postgresql+psycopg://", "postgresql://")


def parse_value(variable: str, field: str, text: str) -> object:
    """The value of the field that a variable's text gives.

    Raises:
        SettingsError: there is no such setting, or the text is no value of it.
    """
    if field not in KNOWN:
        near = difflib.get_close_matches(field, KNOWN, n=1)
        hint = f"did you mean {PREFIX}{near[0].upper()}?" if near else "see docs/settings.md for the list"
        raise SettingsError(f"unknown setting {variable}", remedy=hint)
    if field in _INTEGERS:
        return _integer(variable, text, *_INTEGERS[field])
    if field in _BOOLEANS:
        if text.lower() not in {"0", "1", "true", "false", ""}:
            raise SettingsError(f"{variable} must be 0 or 1, got {text!r}", remedy=f"unset {variable}")
        return text.lower() in {"1", "true"}
    if field == "database" and text and not text.startswith(_DATABASES):
        raise SettingsError(f"{variable} must begin with {_DATABASES[0]}", remedy="write the URL, or leave it empty")
    if field == "online_store" and text:
        parse_store_url(text)
    items = tuple(item.strip() for item in text.split(",") if item.strip())
    wrong = [item for item in items if field in _CHOICES and item not in _CHOICES[field]]
    if wrong or (field == "webhook_kind" and len(items) > 1):
        choices = ", ".join(_CHOICES[field])
        kind = "may have" if field in _LISTS else "must be one of"
        raise SettingsError(
            f"{variable} {kind} {choices}, got {(wrong or [text])[0][:40]!r}",
            remedy=f"write what is possible, or unset {variable}",
        )
    if field == "links" and not all(map(_LINK.fullmatch, items)):
        # Texts are not repeated: an address may have a password.
        remedy = "write mlflow=, ray=, prometheus= or grafana=, and an http:// or https:// address without a password"
        raise SettingsError(f"{variable} has what is no link", remedy=remedy)
    if field == "webhook_kind":
        return items[0] if items else "slack"
    if field in {"tls_ca", "tls_cert", "tls_key"} and text and not text.startswith("/"):
        # the text of a key may be the key itself
        raise SettingsError(f"{variable} must be the absolute path of a file", remedy="name a file in PEM")
    if field == "webhook_file" and text and not text.startswith("/"):  # the text is not repeated: it may be the URL
        remedy = "write the URL into a file of mode 0600, and name that"
        raise SettingsError(f"{variable} must be the absolute path of a file", remedy=remedy)
    if field == "oidc_file" and text and not text.startswith("/"):
        raise SettingsError(f"{variable} must be the absolute path of a file", remedy="every node reads it there")
    return items if field in _LISTS else text


def _integer(variable: str, text: str, least: int, greatest: int) -> int:
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if not least <= value <= greatest:
        raise SettingsError(
            f"{variable} must be a whole number from {least} to {greatest}, got {text[:40]!r}",
            remedy=f"unset {variable}, or set another",
        )
    return value
