"""The section ``serving.log``: what is logged of a version's answers, see docs/prediction-log.md."""

from __future__ import annotations

import re

from divisions.errors import PipelineError
from divisions.pipeline.resources import parse_duration_s, parse_percent_bp
from divisions.pipeline.yaml_sections import Section, items, parsed, text
from divisions.prediction_log import LogPolicy

_S3 = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[^\s?#]*)?")
_MAX_CHARS = 1_024
_LONGEST_ROLL_S = 86_400.0
_DAY_S = 86_400.0
_MAX_KEPT_DAYS = 36_500


def log_policy(section: Section) -> LogPolicy:
    default = LogPolicy()
    with section:
        policy = LogPolicy(
            sample_bp=section.take("sample", parsed(parse_percent_bp), default.sample_bp),
            to=section.take("to", parsed(_place), default.to),
            hash=section.take("hash", items(text), default.hash),
            leave_out=section.take("leave_out", items(text), default.leave_out),
            roll_s=section.take("roll", parsed(_roll_s), default.roll_s),
            keep_s=section.take("keep", parsed(_keep_s), default.keep_s),
        )
        for name in sorted({*policy.hash} & {*policy.leave_out}):
            section.report(f"{name[:60]!r} is both hashed and left out", "name it once", "leave_out")
        return policy


def _roll_s(duration: str) -> float:
    roll_s = parse_duration_s(duration)
    if not 1 <= roll_s <= _LONGEST_ROLL_S:
        raise PipelineError(f"must be from 1s to 1d, got {duration[:60]!r}", remedy="write it like '5m'")
    return roll_s


def _keep_s(duration: str) -> float:
    """In whole days, because files are removed by their date."""
    days = parse_duration_s(duration) / _DAY_S
    if not (1 <= days <= _MAX_KEPT_DAYS and days.is_integer()):
        raise PipelineError(
            f"must be a whole number of days, from 1d to {_MAX_KEPT_DAYS}d, got {duration[:60]!r}",
            remedy="write it like '30d', or remove the key: then all files are kept",
        )
    return days * _DAY_S


def _place(place: str) -> str:
    """A folder by its absolute path, because gateways on other machines have other working folders; or ``s3://…``."""
    is_plain = place.isprintable() and len(place) <= _MAX_CHARS and ".." not in place.split("/")
    if is_plain and (_S3.fullmatch(place) or (place.startswith("/") and place.strip("/"))):
        return place.rstrip("/")
    raise PipelineError(
        f"must be an absolute path of a folder or s3://bucket/prefix, got {place[:60]!r}",
        remedy="write such a place, or remove the key: then it is the folder predictions of the home",
    )
