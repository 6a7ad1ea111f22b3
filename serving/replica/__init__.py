"""One replica: an engine behind the data channel.

In: batches on a socket. Out: scores. Open `replica` first. `channel_server` is the replica's socket server, `ray_app`
runs a replica under Ray Serve, `in_process` runs an engine inside a gateway.
"""
