"""Runs the processes of one home's cluster: starts them in order, starts them again after a crash, ends them.

In: settings. Out: processes, and ``cluster.json``, which says what runs. Open `supervisor` first, then `launch` (what
it starts) and `service` (what starts on Ray). `crash`, `patience` and `restarts` are its decisions, and pure.
"""
