"""The prediction log: sampled answers of a gateway as Parquet files.

In come frames of a gateway over a socket (`router.prediction_log.frames`); out go files in a folder or in S3, and
counts of what was kept and lost. It is a process of its own (`router.prediction_log.process`), so nothing that a disk
or S3 does can hold a request. Open `writer.py` first.
"""
