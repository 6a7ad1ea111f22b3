"""From nothing to a cluster that serves: the embedded cluster, and a registered version's way into a rollout.

Open `deploy.cluster.embedded` first: it is ``divisions up``. Every target to deploy to has a wing of its own here.
"""
