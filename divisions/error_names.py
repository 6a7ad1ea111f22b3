"""Errors by their names, for those that arrive as text from another process."""

from __future__ import annotations

from typing import Final

from divisions import errors
from divisions.errors import DivisionsError

BY_NAME: Final[dict[str, type[DivisionsError]]] = {
    name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, DivisionsError)
}
"""Every class of `divisions.errors`."""
