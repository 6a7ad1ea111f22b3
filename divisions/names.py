"""The rule for names of endpoints, models and pipelines. Pure.

Such a name stands in URLs, folders, table names and labels of metrics, so it is one plain word.
"""

from __future__ import annotations

import re
from typing import Final

MAX_NAME_CHARS: Final = 64
NAME_RULE: Final = f"up to {MAX_NAME_CHARS} lower-case letters, digits, `.`, `_` and `-`"
"""The rule as an error says it."""

_NAME: Final = re.compile(rf"[a-z0-9][a-z0-9._-]{{0,{MAX_NAME_CHARS - 1}}}")

LABEL_RULE: Final = "up to 128 letters, digits, spaces and `._+-`, the first one a letter or digit"
LABEL_PATTERN: Final = "[A-Za-z0-9][A-Za-z0-9 ._+-]{0,127}"
_LABEL: Final = re.compile(LABEL_PATTERN)


def is_name(text: str) -> bool:
    """Whether ``text`` may be the name of an endpoint, a model or a pipeline."""
    return _NAME.fullmatch(text) is not None and ".." not in text


def is_label(text: str) -> bool:
    """Whether ``text`` may label a version, or name a model of others. It stands in headers of replies.

    >>> is_label("3.2"), is_label("Sentiment Analyzer"), is_label("3.2\\r\\nx: y")
    (True, True, False)
    """
    return _LABEL.fullmatch(text) is not None
