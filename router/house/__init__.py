"""What the page shows of the whole house, from what the controller knows: traffic over time, stages, tables. Pure.

In: closed seconds, the status, records of the registry, the schedule. Out: the sections of `divisions.house`. Begin
with `tables.py`.
"""
