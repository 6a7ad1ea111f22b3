package divisions.rbac_test

import rego.v1

question(role, endpoints, action, endpoint) := {
	"kind": "rbac",
	"principal": {"name": "ann", "role": role, "endpoints": endpoints},
	"action": action,
	"endpoint": endpoint,
}

refused if data.divisions.authz.allow == false

inputs.what_the_table_grants_passes := question("deployer", [], "start-rollout", "churn")

test_what_the_table_grants_passes if data.divisions.rbac.passed == {"role", "endpoint"}

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
