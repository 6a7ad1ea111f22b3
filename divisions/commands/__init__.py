"""The commands of ``divisions``, one file per noun. They import what is heavy when they run, not before."""
