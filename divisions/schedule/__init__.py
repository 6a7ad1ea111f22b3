"""Runs by a pipeline's ``trigger``: which times come, what is decided at each, and the file that remembers it.

In: pipeline files, the present time, what a run says of itself. Out: runs to start. `deploy.schedule` starts them.
Open `decisions.py` first: its docstring has the rules.
"""
