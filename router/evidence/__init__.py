"""Statistics that compare two versions. Pure: no I/O, no clock, no randomness.

In: counts by second and version, as gateways report them. Out: e-values, quantiles, drift, the split of customers.
Open `latency_evidence` first; `split` decides which customer goes to which version.
"""
