"""The process that runs pipelines by their trigger, beside an embedded cluster.

In: the schedule of the home (`divisions.schedule`), the clock. Out: jobs for Ray's job server.
Open `scheduler.py` first.
"""
