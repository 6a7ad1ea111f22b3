"""Data preparation against plain DuckDB, over the number of events."""
