"""Deploy targets: a registered version to an endpoint that answers.

Each target has a wing of its own. Today there is one: `deploy.cluster`, a Ray cluster of this machine; open
`deploy.cluster.embedded` first. `rollout_start` turns a registered version into a rollout, on every target.
"""
