"""What computes scores: one module per technology, all behind `protocol.Engine`.

In: ``float32[N, F]``. Out: ``float32[N]``. Open `protocol` first; `selection` orders the engines, best first. A new
engine also needs a name in `divisions.control.EngineChoice`, a line in `capabilities`, and a function in
`serving.compile.opening`, which opens it.
"""
