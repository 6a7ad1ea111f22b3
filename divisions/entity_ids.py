"""How an entity's id is spelt: as text. A whole number is the same entity as its text, in data and in requests. Pure.

Trainers do the same for columns (`trainers.data.raw_columns`). So ``7``, ``7.0`` and ``"7"`` are one customer, and
``"007"`` is another.
"""

from __future__ import annotations

from typing import Final

from divisions.errors import InvalidFeaturesError

MAX_ID_CHARACTERS: Final = 256
_EXACT: Final = 2.0**53
"""From here on, a float may stand for several whole numbers."""


def entity_text(entity: str, value: object) -> str:
    """The text of an id. Text stays as it is.

    >>> entity_text("customer_id", 15634602), entity_text("customer_id", 7.0), entity_text("customer_id", "007")
    ('15634602', '7', '007')

    Args:
        entity: the name of the entity, for errors.
        value: what a caller sent.

    Raises:
        InvalidFeaturesError: it is neither text nor a whole number.
    """
    match value:
        case str():
            return value
        case bool():
            pass
        case int():
            return _digits(entity, value)
        case float() if value.is_integer():
            if abs(value) < _EXACT:
                return str(int(value))
            raise InvalidFeaturesError(
                f"`{entity}` is too large for a number with a decimal point: it may stand for several ids",
                remedy="send it as a whole number or as text",
            )
    kind = {bool: "a boolean", float: "no whole number", type(None): "null"}.get(type(value), "neither")
    raise InvalidFeaturesError(
        f"`{entity}` must be text or a whole number, and is {kind}", remedy="send the id as it is in the data"
    )


def _digits(entity: str, value: int) -> str:
    if abs(value) >= 10**MAX_ID_CHARACTERS:
        raise InvalidFeaturesError(
            f"`{entity}` has more than {MAX_ID_CHARACTERS} digits", remedy="send the id as it is in the data"
        )
    return str(value)
