"""The Open Inference Protocol v2 over the same dispatcher.

In: JSON and binary tensors. Out: rows for `router.predict.dispatcher`, tensors for callers. Open `infer` first.
`codec`, `columns`, `rows` and `values` are pure.
"""
