"""``divisions up`` and ``divisions down``: the embedded cluster from the command line's side.

In: settings and options. Out: a cluster that serves, or none. Open `embedded` first, then `ray_cluster` (the way up)
and `shutdown` (the way down). `deploy.supervision` starts and watches the processes.
"""
