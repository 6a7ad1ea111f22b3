"""Logs: lines of JSON with the ids of requests and rollouts, and reading all of a home's in the order of time.

`json_lines.py` writes what a process logs. `lines.py` says what a line is and which are wanted, pure; `files.py` reads.
"""
