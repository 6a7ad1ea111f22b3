package divisions.promotion_test

import rego.v1

settings := {
	"production": ["production"],
	"max_drift": 0.25,
	"allow_unknown_drift": false,
	"approvals": 0,
	"freeze": [{"from": "ten", "to": "twenty", "why": "holidays", "from_s": 10, "to_s": 20}],
	"stores": ["s3://models"],
	"need_image": false,
	"registries": ["registry.example.com/models"],
	"image_digests": [],
}

good := {
	"kind": "promotion",
	"environment": "production",
	"authors": ["dora", "tim"],
	"trainer": "tim",
	"approvals": [{"name": "ann", "role": "approver", "at_s": 5}],
	"gates": [{"name": "auc", "outcome": "passed", "value": 0.9}],
	"drift": 0.1,
	"drift_alerts": 0,
	"lineage": {"run_id": "r1", "data": "d1", "code": "c1", "schema": "s1", "pipeline": "p1", "bundle_sha256": "b1"},
	"report": {"sha256": "r", "signed_by": ["ann"]},
	"now_s": 30,
	"store": "s3://models/churn",
	"image": null,
	"asked": {"require": [], "approvals": 0, "stores": [], "frozen_until": "", "images": []},
}

passed := data.divisions.promotion.passed

changed(changes) := object.union(good, changes)

image(registry, digest) := {"registry": registry, "repository": "models/churn", "digest": digest}

digest := "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

inputs.a_good_version_passes_every_gate := good

test_a_good_version_passes_every_gate if {
	passed == {"metrics", "drift", "lineage", "report", "trainer", "approvals", "freeze", "store", "image"}
}

inputs.a_question_that_says_nothing_passes_none := {"kind": "promotion"}

test_a_question_that_says_nothing_passes_none if {
	count(passed) == 0
}

inputs.no_gate_of_training_is_not_a_passed_one := changed({"gates": []})

test_no_gate_of_training_is_not_a_passed_one if {
	not "metrics" in passed
}

inputs.a_gate_that_is_unknown_has_not_passed := changed({"gates": [{"name": "auc", "outcome": "unknown"}]})

test_a_gate_that_is_unknown_has_not_passed if {
	not "metrics" in passed
}

inputs.drift_beyond_its_limit_is_refused := changed({"drift": 0.26})

test_drift_beyond_its_limit_is_refused if {
	not "drift" in passed
}

inputs.drift_that_is_unknown_is_refused := changed({"drift": null})

test_drift_that_is_unknown_is_refused if {
	not "drift" in passed
}

inputs.drift_that_is_a_text_is_refused := changed({"drift": "0.1"})

test_drift_that_is_a_text_is_refused if {
	not "drift" in passed
}

inputs.an_open_alert_of_drift_is_refused := changed({"drift_alerts": 1})

test_an_open_alert_of_drift_is_refused if {
	not "drift" in passed
}

inputs.lineage_with_a_gap_is_refused := changed({"lineage": {"code": ""}})

test_lineage_with_a_gap_is_refused if {
	not "lineage" in passed
}

inputs.a_report_that_nobody_signed_is_refused := changed({"report": {"signed_by": []}})

test_a_report_that_nobody_signed_is_refused if {
	not "report" in passed
}

inputs.a_report_that_is_not_known_is_signed_by_nobody := changed({"report": {"sha256": "", "signed_by": ["ann"]}})

test_a_report_that_is_not_known_is_signed_by_nobody if {
	not "report" in passed
}

inputs.an_unknown_trainer_is_refused := changed({"trainer": ""})

test_an_unknown_trainer_is_refused if {
	not "trainer" in passed
}

inputs.a_trainer_who_could_approve_is_refused := changed({"authors": ["dora"]})

test_a_trainer_who_could_approve_is_refused if {
	not "trainer" in passed
}

inputs.who_trained_it_does_not_approve_it := changed({"approvals": [{"name": "tim", "role": "approver", "at_s": 5}]})

test_who_trained_it_does_not_approve_it if {
	not "approvals" in passed
}

inputs.nobody_approves_what_they_made := changed({"authors": ["ann"]})

test_nobody_approves_what_they_made if {
	not "approvals" in passed
}

inputs.in_production_an_unknown_author_may_be_anybody := changed({"authors": []})

test_in_production_an_unknown_author_may_be_anybody if {
	not "approvals" in passed
}

inputs.elsewhere_nobody_need_approve := changed({"environment": "staging", "approvals": []})

test_elsewhere_nobody_need_approve if {
	"approvals" in passed
}

inputs.the_same_person_twice_is_one := changed({
	"asked": {"approvals": 2},
	"approvals": [
		{"name": "ann", "role": "approver", "at_s": 5},
		{"name": "ann", "role": "approver", "at_s": 6},
	],
})

test_the_same_person_twice_is_one if {
	not "approvals" in passed
}

inputs.who_may_not_approve_does_not_count := changed({"approvals": [{"name": "ann", "role": "viewer", "at_s": 5}]})

test_who_may_not_approve_does_not_count if {
	not "approvals" in passed
}

inputs.a_freeze_begins_with_its_first_second := changed({"now_s": 10})

test_a_freeze_begins_with_its_first_second if {
	not "freeze" in passed
}

inputs.a_freeze_is_over_with_its_last := changed({"now_s": 20})

test_a_freeze_is_over_with_its_last if {
	"freeze" in passed
}

inputs.no_time_is_frozen := changed({"now_s": null})

test_no_time_is_frozen if {
	not "freeze" in passed
}

inputs.a_window_of_the_pipeline_is_one_too := changed({"asked": {"frozen_until": "Mon 07:00"}})

test_a_window_of_the_pipeline_is_one_too if {
	not "freeze" in passed
}

inputs.a_store_with_a_longer_name_is_another := changed({"store": "s3://models-of-others/churn"})

test_a_store_with_a_longer_name_is_another if {
	not "store" in passed
}

inputs.an_image_by_digest_from_its_registry_passes := changed({"image": image("registry.example.com", digest)})

test_an_image_by_digest_from_its_registry_passes if {
	"image" in passed
}

inputs.an_image_by_tag_is_refused := changed({"image": image("registry.example.com", "")})

test_an_image_by_tag_is_refused if {
	not "image" in passed
}

inputs.an_image_from_elsewhere_is_refused := changed({"image": image("registry.example.com.evil.example", digest)})

test_an_image_from_elsewhere_is_refused if {
	not "image" in passed
}

inputs.an_image_that_the_pipeline_does_not_name_is_refused := changed({
	"image": image("registry.example.com", digest),
	"asked": {"images": ["registry.example.com/other"]},
})

test_an_image_that_the_pipeline_does_not_name_is_refused if {
	not "image" in passed
}

inputs.no_image_is_refused_where_the_pipeline_names_some := changed({"asked": {"images": ["registry.example.com"]}})

test_no_image_is_refused_where_the_pipeline_names_some if {
	not "image" in passed
}
