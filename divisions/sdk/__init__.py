"""The Python SDK.

In: calls. Out: HTTP requests, typed answers, one error class per kind of refusal. Open `client` first. `calls` builds
the requests of both clients, without I/O.
"""
