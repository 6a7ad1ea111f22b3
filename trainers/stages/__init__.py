"""The stages of a run. `trainers.run` puts them in order.

In: the parts of a run and what the stages before have made. Out: rows, a model, a bundle, a version, a rollout. Open
`parts` first, then `prepare`.
"""
