"""The controller's memory: an append-only journal in SQLite or PostgreSQL, written before a decision is carried out.

In: records of endpoints. Out: the same records after a crash. Open `journal` first; `tables` shows the schema, `seal`
its checksums, `fence` why only one controller writes. `writer` is what the controller uses. `sqlite` and `postgres` are
the two databases. `copies` has the way back.
"""
