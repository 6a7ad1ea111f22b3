# Who may do what: the table of roles, which the bundle has from the same source as the gateways.
package divisions.rbac

import rego.v1

expected := {"role", "endpoint", "author"}

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

# Whoever approves a version in production has not made it. `about` is the version.

passed contains "author" if input.action != "approve"

passed contains "author" if is_null(input.about)

passed contains "author" if {
	is_string(input.about.environment)
	not input.about.environment in data.divisions.settings.production
}

passed contains "author" if {
	input.about.environment in data.divisions.settings.production
	count(input.about.authors) > 0
	every author in input.about.authors { author != input.principal.name }
}

explained contains {
	"rule": "author",
	"message": sprintf("%s has made version %s, and may not approve it", [input.principal.name, input.about.version]),
	"remedy": "ask another approver",
} if input.principal.name in input.about.authors

explained contains {
	"rule": "author",
	"message": sprintf("it is not known who made version %s, so the approval could be their own", [input.about.version]),
	"remedy": "start its rollout with a token that has a name",
} if count(input.about.authors) == 0

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
