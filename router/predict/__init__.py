"""From rows to replicas and back, in the gateway's process.

In: a request to ``POST /api/v2/predict/{endpoint}``. Out: batches to replicas, replies to callers, counts by second.
Open `predict_handler` first, then `dispatcher` (which version), `pool` (which replica) and `upstream` (the socket).
`active_routes` applies routing tables, `retries` decides about failed attempts, `reports` sums up.
"""
