"""The controller's process: it owns the journal, the rollouts and the routing table.

In: heartbeats of replicas, reports of gateways, commands. Out: routing tables, wanted applications, the journal. Open
`controller` first; `ray_controller` runs it as a Ray actor.
"""
