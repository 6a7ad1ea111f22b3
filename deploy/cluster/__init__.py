"""The embedded cluster: starts, supervises and ends all processes of one home.

In: settings. Out: a running Ray head, controller and gateways, and ``cluster.json``. Open `embedded` first, then
`ray_cluster`. `supervisor` is the parent of every process; `shutdown` stops the cluster.
"""
