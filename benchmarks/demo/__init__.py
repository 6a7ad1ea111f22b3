"""Everything the product does, unattended: ``make demo``. Open `demo` first."""
