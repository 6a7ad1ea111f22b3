"""Requests to replicas, and rollouts. Seven wings; docs/architecture.md has the picture.

To follow a request, open `router.http.connection` first; to follow a rollout, `router.rollouts.canary`.
"""
