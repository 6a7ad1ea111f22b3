"""The commands of ``divisions``, one module each; `divisions.cli` puts them together."""
