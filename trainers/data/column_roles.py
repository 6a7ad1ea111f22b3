"""Which columns are the entity, the event time and the label, where nobody has said so: by their usual names. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_ENTITIES = (
    "customerid", "entityid", "userid", "accountid", "clientid", "subscriberid", "memberid", "customer", "customerno",
    "customernumber", "entity", "user", "client", "subscriber", "msisdn", "uid", "id",
)  # fmt: skip
_TIMES = (
    "eventtime", "eventtimestamp", "timestamp", "eventdate", "time", "datetime", "ts", "date", "snapshotdate",
    "createdat", "updatedat", "occurredat", "day",
)  # fmt: skip
_LABELS = (
    "churn", "churned", "ischurn", "churnflag", "churnlabel", "label", "target", "exited", "attrition", "attritionflag",
    "left", "y", "class", "outcome",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Roles:
    """The columns by role; empty where there is none. ``why`` says how they were found."""

    entity: str = ""
    event_time: str = ""
    label: str = ""
    why: str = "by its name"


def guess_roles(names: Sequence[str]) -> Roles:
    """The roles by name, whatever its case, blanks and underscores.

    >>> guess_roles(["RowNumber", "CustomerId", "Surname", "Exited"])
    Roles(entity='CustomerId', event_time='', label='Exited', why='by its name')
    """
    by_word: dict[str, str] = {}
    for name in names:
        by_word.setdefault(re.sub(r"[^a-z0-9]", "", name.lower()), name)

    def first(words: Sequence[str]) -> str:
        return next((by_word[word] for word in words if word in by_word), "")

    return Roles(first(_ENTITIES), first(_TIMES), first(_LABELS))
