"""The Python SDK.

In: calls. Out: HTTP requests, typed answers, one error class per kind of refusal. Open `client` first; `calls` says
what both clients send, without I/O.
"""
