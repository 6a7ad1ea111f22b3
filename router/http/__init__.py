"""HTTP/1.1 on the wire.

In: bytes of a connection. Out: whole requests to a `Handler`, and replies in order. Open `connection` first. `parser`
refuses malformed HTTP with a status of its own. A malformed body is found later, by `router.predict.decode` or
`router.oip.codec`; `problem` maps each class of our errors to its status. `authentication` protects the control API.
"""
