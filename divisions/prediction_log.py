"""The prediction log: ``serving.log`` of the pipeline file, and what the log's files hold. Pure.

    <place>/<endpoint>/date=<YYYY-MM-DD>/<time>-<gateway>-<number>.parquet

A file has one row for each row of a request: `COLUMNS`, and the features that the model saw as one struct. So a feature
may be named like one of the columns.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from divisions.errors import PipelineError
from divisions.schema import FeatureSchema

FOLDER: Final = "predictions"
"""Of the home: the log, unless the pipeline file names another place."""

REQUEST_ID: Final = "request_id"
COLUMNS: Final = ("time", REQUEST_ID, "row", "entity", "model", "version", "score", "features")
"""``row`` is the place in the request, from 0; ``entity`` the customer's id, null if the request named none."""


class LogPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``serving.log`` of a pipeline file: what is logged of a version's answers.

    ``sample_bp`` is the share of requests in basis points. ``to`` is a folder or ``s3://…``; empty means `FOLDER` of
    the home. ``hash`` and ``leave_out`` name features, the entity or ``request_id``. A file is closed after
    ``roll_s`` at the latest.
    """

    sample_bp: int = 500
    to: str = ""
    hash: tuple[str, ...] = ()
    leave_out: tuple[str, ...] = ()
    roll_s: float = 300.0


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
