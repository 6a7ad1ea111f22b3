package divisions.rbac_test

import rego.v1

settings := {"production": ["production"]}

question(role, endpoints, action, endpoint) := {
	"kind": "rbac",
	"principal": {"name": "ann", "role": role, "endpoints": endpoints},
	"action": action,
	"endpoint": endpoint,
	"about": null,
}

approval(environment, authors) := object.union(
	question("approver", [], "approve", "churn"),
	{"about": {"version": "3.2", "environment": environment, "authors": authors}},
)

refused if data.divisions.authz.allow == false

inputs.what_the_table_grants_passes := question("deployer", [], "start-rollout", "churn")

test_what_the_table_grants_passes if data.divisions.rbac.passed == {"role", "endpoint", "author"}

inputs.what_it_does_not_grant_is_refused := question("viewer", [], "start-rollout", "churn")

test_what_it_does_not_grant_is_refused if refused

inputs.an_unknown_role_is_refused := question("emperor", [], "read", "")

test_an_unknown_role_is_refused if refused

inputs.an_unknown_action_is_refused := question("admin", [], "explode", "churn")

test_an_unknown_action_is_refused if refused

inputs.a_token_for_other_endpoints_is_refused := question("admin", ["fraud"], "promote", "churn")

test_a_token_for_other_endpoints_is_refused if refused

inputs.a_question_without_a_principal_is_refused := {"kind": "rbac", "action": "read", "endpoint": ""}

test_a_question_without_a_principal_is_refused if refused

inputs.a_question_of_no_kind_is_refused := {"kind": "other"}

test_a_question_of_no_kind_is_refused if refused

inputs.somebody_else_approves := approval("production", ["dora"])

test_somebody_else_approves if "author" in data.divisions.rbac.passed

inputs.nobody_approves_their_own := approval("production", ["dora", "ann"])

test_nobody_approves_their_own if not "author" in data.divisions.rbac.passed

inputs.what_nobody_is_known_to_have_made_is_approved_by_nobody := approval("production", [])

test_what_nobody_is_known_to_have_made_is_approved_by_nobody if {
	not "author" in data.divisions.rbac.passed
}

inputs.elsewhere_they_may := approval("staging", ["ann"])

test_elsewhere_they_may if "author" in data.divisions.rbac.passed

inputs.an_approval_that_does_not_say_of_what_is_refused := object.remove(
	question("approver", [], "approve", "churn"),
	["about"],
)

test_an_approval_that_does_not_say_of_what_is_refused if {
	not "author" in data.divisions.rbac.passed
}
