"""A bundle to warm replicas. Open `serving.replica.replica` first; `serving.engines` has one module per technology."""
