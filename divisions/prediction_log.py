"""The prediction log: ``serving.log`` of the pipeline file, and what the log's files hold. Pure.

    <place>/<endpoint>/date=<YYYY-MM-DD>/<time>-<gateway>-<number>.parquet

A file has one row for each row of a request: `COLUMNS`, and the features that the model saw as one struct. So a feature
may be named like one of the columns.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from divisions.errors import PipelineError
from divisions.schema import FeatureSchema

FOLDER: Final = "predictions"
"""Of the home: the log, unless the pipeline file names another place."""

PLACES: Final = "places.txt"
"""In that folder: a line for each endpoint and place that gateways of this home have logged to; see `places_in`."""

REQUEST_ID: Final = "request_id"
COLUMNS: Final = ("time", REQUEST_ID, "row", "entity", "model", "version", "score", "features")
"""``row`` is the place in the request, from 0; ``entity`` the customer's id, null if the request named none."""


_DATE: Final = re.compile(r"date=(\d{4}-\d{2}-\d{2})")
_FILE: Final = re.compile(r"\d{6}-.+\.parquet")


class LogPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``serving.log`` of a pipeline file: what is logged of a version's answers.

    ``sample_bp`` is the share of requests in basis points. ``to`` is a folder or ``s3://…``; empty means `FOLDER` of
    the home. ``hash`` and ``leave_out`` name features, the entity or ``request_id``. A file is closed after
    ``roll_s`` at the latest. Files older than ``keep_s`` are removed; 0 keeps them for ever.
    """

    sample_bp: int = 500
    to: str = ""
    hash: tuple[str, ...] = ()
    leave_out: tuple[str, ...] = ()
    roll_s: float = 300.0
    keep_s: float = 0.0


class LogCount(msgspec.Struct, frozen=True):
    """Rows of one version in the prediction log.

    ``kept`` is on a disk or in the log's place. ``lost`` counts by reason: ``buffer`` (the writer stood still),
    ``writer`` (it died), ``disk`` (it is full), ``place`` (the log's place took nothing for too long), ``rows``.
    """

    endpoint: str
    version: str
    kept: int
    lost: dict[str, int] = {}


def check_columns(policy: LogPolicy, schema: FeatureSchema) -> None:
    """Raises `PipelineError` if ``hash`` or ``leave_out`` names no column of the log: a typo would log it in clear."""
    known = (*schema.names, schema.entity, REQUEST_ID)
    unknown = [name for name in (*policy.hash, *policy.leave_out) if name not in known]
    if unknown:
        raise PipelineError(
            f"serving.log names {', '.join(map(repr, unknown))}, which the log does not have",
            remedy=f"the log has {', '.join(known)}; name those that it must hash or leave out",
        )


def place_of(policy: LogPolicy, home: Path) -> str:
    """The folder, or the S3 URI, of the log."""
    return policy.to.rstrip("/") or str(home / FOLDER)


def place_line(endpoint: str, place: str) -> str:
    """A line of `PLACES`. Neither part has a control character: one is a name, the other was checked."""
    return f"{endpoint}\t{place}\n"


def places_in(text: str, endpoint: str) -> tuple[str, ...]:
    """The places that the text of `PLACES` has of an endpoint.

    >>> places_in(place_line("churn", "/a b") + place_line("fraud", "/c") + place_line("churn", "s3://d"), "churn")
    ('/a b', 's3://d')
    """
    lines = [line.partition("\t") for line in text.splitlines()]
    return tuple(dict.fromkeys(place for name, tab, place in lines if name == endpoint and tab))


def is_log_file(name: str) -> bool:
    """Whether a file in a folder of a date is the log's: nothing else is ever removed or written anew.

    >>> is_log_file("120000-gw-1.parquet"), is_log_file("training.parquet"), is_log_file(".120000-gw-1.parquet.part")
    (True, False, False)
    """
    return _FILE.fullmatch(name) is not None


def is_log_date(name: str) -> bool:
    """Whether a folder may hold the log's files."""
    return _DATE.fullmatch(name) is not None


def old_dates(names: Iterable[str], keep_s: float, wall_s: float) -> list[str]:
    """The folders of dates whose last second is longer ago than ``keep_s``.

    >>> old_dates(["date=2026-01-01", "date=2026-01-02", "date=2026-13-01", "other"], 86_400, 1_767_398_400.0)
    ['date=2026-01-01']
    """
    last = dt.datetime.fromtimestamp(wall_s - keep_s, dt.UTC).date()
    found = []
    for name in names:
        match = _DATE.fullmatch(name)
        try:
            if match is not None and dt.date.fromisoformat(match[1]) < last:
                found.append(name)
        except ValueError:  # such as a thirteenth month
            continue
    return found


def hash_key(channel_token: bytes) -> bytes:
    """The key of `pseudonym`, equal on all nodes of a cluster; who has the log alone cannot try values out."""
    return hmac.digest(channel_token, b"divisions prediction log", hashlib.sha256)


def pseudonym(key: bytes, text: str) -> str:
    """What stands in the log for a hashed value: the same for the same value.

    >>> pseudonym(b"key", "c-1") == pseudonym(b"key", "c-1"), len(pseudonym(b"key", "c-1"))
    (True, 32)
    """
    return hmac.digest(key, text.encode(errors="surrogatepass"), hashlib.sha256)[:16].hex()


def unknown_text(categories: Sequence[str]) -> str:
    """What stands in the log for a text that the model did not know: it is no category, so it is unknown again.

    >>> unknown_text(["basic", "gold"])
    '(unknown)'
    """
    text = "(unknown)"
    while text in categories:
        text += "?"
    return text
