"""The laboratory: the product's own processes without Ray, its parts in memory, and simulation.

Open `lab` first (gateways and replicas), then `micro` (parts of a request) and `scale` (many of each).
"""
