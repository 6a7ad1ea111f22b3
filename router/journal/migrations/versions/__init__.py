"""One module per format, named by its number."""
