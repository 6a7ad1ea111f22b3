"""The HTTP API as an OpenAPI 3.1 document, for people, for tools that make clients, and for tests. Pure.

In: `operation.Operation`, which each wing with routes lists in its own ``operations.py``, beside the routes. Out: the
document that the gateway serves at ``/openapi.json``. Open `operation` first; `document` renders.
"""
