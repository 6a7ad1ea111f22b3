"""Traces by OpenTelemetry: what all processes share that send some.

A gateway's requests are traced by `router.traces`. Here is the rest: which traces are sampled, how spans go to the
collector, and spans of work: runs of pipelines (`steps.py`), deployments and rollouts (`work.py`). Without
``DIVISIONS_TRACES`` nothing of OpenTelemetry is imported.
"""
