"""Raw events to a feature table.

In: files of a partition. Out: one row per customer, quarantined rows with their reasons, Parquet. Open `preparation`
first. `file_formats` reads one file (Parquet, CSV, JSON lines), `kind_inference` decides what a column is.
"""
