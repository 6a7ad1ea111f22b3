"""HTTP/1.1 on the wire.

In: bytes of a connection. Out: whole requests to a `Handler`, and replies in order. Open `connection` first. `parser`
refuses malformed requests; `problem` has the one table of statuses. `authentication` guards the control API.
"""
