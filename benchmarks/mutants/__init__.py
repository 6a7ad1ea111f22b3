"""Do the tests notice when the code is wrong? ``make mutants``. Open `operators` first, then `runner`.

In: a seed. Out: small wrong changes to `router` and `divisions` that no test notices. It benchmarks tests, not code.
"""
