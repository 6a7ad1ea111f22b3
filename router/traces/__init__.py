"""Traces of requests for OpenTelemetry: records of a gateway become spans, and go to a collector.

In come frames of a gateway over a socket (`router.traces.frames`); out go spans by OTLP over HTTP, and counts. It is
a process of its own (`router.traces.process`), so nothing that a collector does can hold a request. Open `spans.py`
first.
"""
