"""What predict knows of explanations: how a request asks for them, and who gives them.

`router.explain` gives them. It stands above this wing, so that requests without explanations do not pass it.
"""

from __future__ import annotations

import urllib.parse
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Final

from divisions.errors import InvalidFeaturesError, MalformedRequestError
from router.http.request import Request
from router.predict.decode import Row
from router.predict.endpoint import Endpoint
from router.predict.front import Front, Options

MAX_EXPLAINED: Final = 32
"""Rows of one request that may be explained."""
DEFAULT_TOP: Final = 5
MAX_TOP: Final = 1_000


class RowExplainer(ABC):
    """Answers predict requests that ask for explanations."""

    @abstractmethod
    def explain(
        self,
        endpoint: Endpoint,
        rows: Sequence[Row],
        request: Request,
        options: Options,
        request_id: bytes,
        front: Front,
        *,
        is_batch: bool,
    ) -> None:
        """Begins to answer. All rows have features.

        Args:
            front: sends a refusal that comes later.
            is_batch: whether the reply is a list.

        Raises:
            DivisionsError: the request is refused.
        """


def features_asked(query: str) -> int:
    """How many features the query of a predict request asks for, of each row; 0 if it asks for no explanation.

    >>> features_asked("explain=true"), features_asked("explain=true&top=3"), features_asked("")
    (5, 3, 0)

    Raises:
        MalformedRequestError: a parameter has no value that it may have, or comes twice.
    """
    is_explained, top = False, DEFAULT_TOP
    seen = set()
    for name, value in urllib.parse.parse_qsl(query, keep_blank_values=True):
        if name not in {"explain", "top"}:
            continue
        if name in seen:
            raise MalformedRequestError(f"the query has `{name}` twice", remedy="send it once")
        seen.add(name)
        if name == "explain":
            if value not in {"true", "false"}:
                raise MalformedRequestError("`explain` must be true or false", remedy="`top` says how many features")
            is_explained = value == "true"
        else:
            if not (value.isascii() and value.isdigit() and len(value) <= len(str(MAX_TOP))):
                raise MalformedRequestError(f"`top` must be a whole number from 1 to {MAX_TOP}")
            top = int(value)
            if not 1 <= top <= MAX_TOP:
                raise MalformedRequestError(f"`top` must be a whole number from 1 to {MAX_TOP}")
    return top if is_explained else 0


def check_explained(rows: int) -> None:
    """Refuses more rows than one request may have explained.

    Raises:
        InvalidFeaturesError: there are too many.
    """
    if rows > MAX_EXPLAINED:
        raise InvalidFeaturesError(
            f"{rows} rows are more than the {MAX_EXPLAINED} that one request may have explained",
            remedy="split the request, or ask without `explain`",
        )
