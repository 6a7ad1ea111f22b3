"""The online feature store in Redis or Valkey, for gateways on many nodes. `layout` says what is kept where.

It speaks to the server by a small client of its own: the gateway needs one that does not wait, costs little and keeps
deadlines (`benchmarks.online_store` compares it with Redis' own), and the codec then serves writers, too.
"""
