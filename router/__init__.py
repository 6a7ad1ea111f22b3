"""Requests to replicas, and rollouts.

``gateway``     the gateway's process: composes the wings below
``control``     the controller's process: replicas, rollouts, routing table
``journal``     the controller's memory, in SQLite or PostgreSQL
``oip``         the Open Inference Protocol
``predict``     a request's rows to replicas and back
``rollouts``    decisions about canaries, pure
``openapi``     the HTTP API as a document, pure
``http``        HTTP/1.1 on the wire
``evidence``    statistics, pure
``page``        the files of the live page, for browsers

To follow a request, open `router.http.connection` first; to follow a rollout, `router.rollouts.canary`.
"""
