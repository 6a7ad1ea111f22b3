"""What computes scores: one module per technology, all behind `protocol.Engine`.

In: ``float32[N, F]``. Out: ``float32[N]``. Open `protocol` first; `selection` orders the engines, best first.
"""
