"""The gateway's process: composes HTTP, prediction and telemetry, and follows the controller.

In: the routing table, connections. Out: answers, reports, metrics, the page. Open `gateway` first; `api` has the routes
that are not hot, `hot_routes` those that are; `process` is the program, and `ray_gateway` has Ray keep it alive.
"""
