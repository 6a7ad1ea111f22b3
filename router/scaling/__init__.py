"""How many replicas a version needs, and whether the cluster has room for them. Pure.

In: gateways' loads and the cluster's nodes. Out: numbers, with reasons. Start with `policy`.
"""
