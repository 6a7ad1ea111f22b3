"""Engines side by side: ``python -m benchmarks.engines``. Open `comparison` first."""
