# Who may do what: the table of roles, which the bundle has from the same source as the gateways.
package divisions.rbac

import rego.v1

expected := {"role", "endpoint"}

passed contains "role" if input.action in data.divisions.access.rights[input.principal.role]

passed contains "endpoint" if input.action in data.divisions.access.cluster_wide

passed contains "endpoint" if {
	input.action in data.divisions.access.per_endpoint
	input.endpoint == ""
}

passed contains "endpoint" if {
	input.action in data.divisions.access.per_endpoint
	input.principal.endpoints == []
}

passed contains "endpoint" if {
	input.action in data.divisions.access.per_endpoint
	input.endpoint in input.principal.endpoints
}

explained contains {
	"rule": "role",
	"message": sprintf("%s is %s, and may not %s", [input.principal.name, input.principal.role, input.action]),
	"remedy": "ask an admin for a token with a role that may: docs/policy.md has the table",
}

explained contains {
	"rule": "endpoint",
	"message": sprintf("%s may not %s on %s", [input.principal.name, input.action, input.endpoint]),
	"remedy": "ask an admin for a token for this endpoint",
}
