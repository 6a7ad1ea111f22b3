"""The controller's process: it owns the journal (`router.journal`), the rollouts and the routing table.

In: heartbeats of replicas, reports of gateways, commands. Out: routing tables, wanted applications, the journal. Open
`controller` first. `routing` makes the routing table's entries, `table_store` numbers tables, `publisher` decides when
to publish. `ray_controller` runs the controller as a Ray actor, `ray_start` starts it.
"""
