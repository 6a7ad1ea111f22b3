"""Which database the settings name."""

from __future__ import annotations

from divisions.errors import SettingsError
from divisions.settings import Settings
from router.journal.database import Database
from router.journal.place import NAME
from router.journal.sqlite import SqliteDatabase


def database_of(settings: Settings) -> Database:
    """The journal's database. It is not connected to yet.

    Raises:
        SettingsError: it is on a server, and the URL makes no sense or the client for it is not installed.
    """
    if not settings.database:
        return SqliteDatabase(settings.home / NAME)
    try:
        from router.journal.postgres import PostgresDatabase
    except ImportError as error:
        raise SettingsError(
            f"DIVISIONS_DATABASE needs the package {error.name}", remedy="install divisions[cluster]"
        ) from None
    return PostgresDatabase(settings.database, settings.home)
