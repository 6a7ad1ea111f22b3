"""The target ``sagemaker``: an endpoint whose variants get weights by the same rules as a cluster's versions.

In: a release. Out: models, endpoint configurations and weights at AWS. Open `target` first; `names`, `observed`, `plan`
and `evidence` are pure.
"""
