"""One replica: an engine behind the data channel.

In: batches on a socket. Out: scores. Open `replica` first; `channel_server` is its end of the channel, `ray_app` runs
it under Ray Serve, `in_process` runs an engine inside a gateway.
"""
