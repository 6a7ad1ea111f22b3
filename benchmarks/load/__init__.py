"""Load generation: ``python -m benchmarks.load`` and its parts.

In: a URL, a rate, rows. Out: one sample per request, percentiles, charts. Open `load_test` first; `open_loop` sends at
planned times, whatever the server does; `wrk` is the closed loop.
"""
