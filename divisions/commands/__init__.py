"""The commands of ``divisions``, one module each. `divisions.cli` assembles them."""
