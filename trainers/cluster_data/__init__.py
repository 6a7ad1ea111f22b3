"""Ingestion over the nodes of a Ray cluster, for inputs larger than one machine should read. Same rows, same SQL.

In: the input of a run. Out: what `trainers.data.ingest` gives on one machine. Open `reading` first: it has the picture.
"""
