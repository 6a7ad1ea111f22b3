"""The whole story unattended: ``make demo``. Open `demo` first."""
