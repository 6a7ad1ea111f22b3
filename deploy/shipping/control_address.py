"""The address of a target's control API, as ``targets.yaml`` has it, when nothing answers there."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from divisions.errors import NotRunningError


@contextlib.contextmanager
def address_of_target(target: str, key: str) -> Iterator[None]:
    """Within the block, nothing that answers is not a cluster of this home that `divisions up` would start.

    Args:
        target: its name.
        key: of the address in the file.
    """
    try:
        yield
    except NotRunningError as error:
        raise NotRunningError(
            error.message, remedy=f"see that a gateway listens there, and check {key} of the target {target}"
        ) from None
