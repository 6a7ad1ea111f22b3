# The decision. Everything that is asked for must have passed: what is undefined, missing or misspelt refuses.
package divisions.authz

import rego.v1

decision := {
	"allow": allow,
	"reasons": reasons,
	"policy_digest": data.divisions.bundle.digest,
}

default allow := false

allow if {
	count(expected) > 0
	every name in expected { name in passed }
	every name in data.divisions.bundle.custom { name in agreed }
}

expected := data.divisions.rbac.expected if input.kind == "rbac"

expected := data.divisions.promotion.expected if input.kind == "promotion"

passed := data.divisions.rbac.passed if input.kind == "rbac"

passed := data.divisions.promotion.passed if input.kind == "promotion"

explained := data.divisions.rbac.explained if input.kind == "rbac"

explained := data.divisions.promotion.explained if input.kind == "promotion"

# Policies of the cluster's owner: each package has to allow it, too.
agreed contains name if {
	some name in data.divisions.bundle.custom
	data.divisions.custom[name].allow == true
}

talkative contains name if {
	some name in data.divisions.bundle.custom
	count(data.divisions.custom[name].reasons) > 0
}

failed contains name if {
	some name in expected
	not name in passed
}

told contains reason.rule if some reason in explained

reasons contains reason if {
	some reason in explained
	reason.rule in failed
}

reasons contains reason if {
	some name in failed
	not name in told
	reason := {
		"rule": name,
		"message": "it is not known to hold",
		"remedy": "docs/rego.md says what this rule needs",
	}
}

reasons contains reason if {
	some name in data.divisions.bundle.custom
	not name in agreed
	some given in data.divisions.custom[name].reasons
	reason := {
		"rule": sprintf("custom.%s", [name]),
		"message": object.get(given, "message", "it refuses this"),
		"remedy": object.get(given, "remedy", ""),
	}
}

reasons contains reason if {
	some name in data.divisions.bundle.custom
	not name in agreed
	not name in talkative
	reason := {
		"rule": sprintf("custom.%s", [name]),
		"message": "it refuses this, and does not say why",
		"remedy": "read the policy, or ask whoever wrote it",
	}
}
