"""Where the controller keeps tokens: beside the journal, on the same server or in the same home."""

from __future__ import annotations

from divisions.access.store import TokenStore
from divisions.settings import Settings
from router.control.token_file import TokenFile


def token_store_of(settings: Settings) -> TokenStore:
    """The store of the tokens. A controller that starts again on another machine finds the same."""
    if not settings.database:
        return TokenFile(settings.home)
    from router.journal.token_table import TokenTable

    return TokenTable(settings.database, settings.home)
