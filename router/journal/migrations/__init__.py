"""Alembic's migrations of the journal, oldest first. Each one changes tables only; checksums follow in `seal_anew`."""
