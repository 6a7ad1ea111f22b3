"""Every version that a journal knows: what is served, what runs beside it, and what an endpoint could go back to."""

from __future__ import annotations

import msgspec
from sqlalchemy import select

from divisions.control import VersionSpec
from divisions.errors import ClusterError
from divisions.settings import Settings
from router.journal import tables
from router.journal.database import ERRORS
from router.journal.opening import database_of
from router.journal.place import NAME, is_begun


def known_versions(settings: Settings) -> set[tuple[str, str]]:
    """Model and version of each, read beside a controller that runs. A version is in the journal before it starts.

    Raises:
        ClusterError: there is a journal, and it cannot be read.
    """
    if not settings.database and not is_begun(settings.home / NAME):
        return set()
    database = database_of(settings)
    try:
        with database.view() as connection:
            specs = connection.execute(select(tables.version.c.spec)).scalars().all()
    except ERRORS as error:
        raise ClusterError(
            f"{database.name} cannot be read, so nobody knows what is in use: {database.reason(error)}",
            remedy="see `divisions journal check`",
        ) from None
    versions = (msgspec.json.decode(spec, type=VersionSpec) for spec in specs)
    return {(version.model, version.version) for version in versions}
