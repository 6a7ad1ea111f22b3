"""Drift all the time: are the requests still like the training data? Pure.

In come sampled rows of all gateways (`divisions.reports.InputSample`) and the time; out come scores and alerts
(`divisions.drift`). Open `watch.py` first. The reasons for each number are in docs/drift.md.
"""
