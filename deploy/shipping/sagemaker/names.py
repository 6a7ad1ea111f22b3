"""Names at SageMaker, from what they stand for: the same for the same content, so that a second call finds the first's.

A name matches ``[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}``. Pure.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

import msgspec

from deploy.shipping.release import Release

MAX_CHARACTERS: Final = 63
_DIGITS: Final = 10


def slug(text: str) -> str:
    """Text as a part of a name.

    >>> slug("churn_predictor/3.2 ")
    'churn-predictor-3-2'
    """
    return re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-")


def is_sagemaker_name(text: str) -> bool:
    return re.fullmatch(r"[A-Za-z0-9](-*[A-Za-z0-9]){0,62}", text) is not None


def named(what: str, *content: object) -> str:
    """A name for people, with a digest of the content.

    >>> named("churn-predictor-v3.2", "image", "role")
    'churn-predictor-v3-2-bf4faeee0e'
    """
    digest = hashlib.sha256(msgspec.json.encode(content, order="deterministic")).hexdigest()[:_DIGITS]
    return f"{slug(what)[: MAX_CHARACTERS - _DIGITS - 1].rstrip('-')}-{digest}"


def model_name(release: Release, image: str, execution_role: str) -> str:
    """The model of a release in an image; its variants have the same name."""
    content = (release.model, release.version, release.endpoint, release.bundle_sha256, image, execution_role)
    return named(f"{release.model}-v{release.version}", *content)
