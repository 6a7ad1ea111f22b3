"""The embedded cluster: starts, supervises, restarts and ends all processes of one home on this machine.

In: settings. Out: a running Ray head, controller and gateways, and ``cluster.json``. Open `embedded` first, then
`ray_cluster`. `supervisor` is the parent of every process, and starts everything again after a crash (`restarts` has
the pauses); `shutdown` stops the cluster.
"""
