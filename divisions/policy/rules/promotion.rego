# What must hold before a version gets more traffic. Each gate says when it has passed, never when it has failed.
package divisions.promotion

import rego.v1

expected := {gate | some gate in data.divisions.settings.require} | {gate | some gate in input.asked.require}

# ---- The pipeline's gates ---------------------------------------------------------------------------------------

passed contains "metrics" if {
	count(input.gates) > 0
	every gate in input.gates { gate.outcome == "passed" }
}

unpassed := [sprintf("%s is %s", [gate.name, gate.outcome]) | some gate in input.gates; gate.outcome != "passed"]

explained contains {
	"rule": "metrics",
	"message": concat("", ["of the gates of its training, ", concat(", ", sort(unpassed))]),
	"remedy": "train a version that meets them, or change the gates of the pipeline file and train again",
} if count(unpassed) > 0

explained contains {
	"rule": "metrics",
	"message": "no gate of its training is known",
	"remedy": "give the pipeline file gates, and deploy what a run has registered",
} if count(input.gates) == 0

# ---- Drift ------------------------------------------------------------------------------------------------------

passed contains "drift" if {
	is_number(input.drift)
	input.drift <= data.divisions.settings.max_drift
	input.drift_alerts == 0
}

passed contains "drift" if {
	is_null(input.drift)
	input.drift_alerts == 0
	data.divisions.settings.allow_unknown_drift == true
}

explained contains {
	"rule": "drift",
	"message": sprintf("the drift is %v, and may be %v", [input.drift, data.divisions.settings.max_drift]),
	"remedy": "look at `divisions status` for the columns that drift, and train on newer data",
} if is_number(input.drift)

explained contains {
	"rule": "drift",
	"message": "the drift is not known",
	"remedy": "wait until the endpoint has had enough traffic, or set allow_unknown_drift in data.yaml",
} if is_null(input.drift)

explained contains {
	"rule": "drift",
	"message": sprintf("%v alerts of drift are open", [input.drift_alerts]),
	"remedy": "look at `divisions status` for the columns that drift, and train on newer data",
} if input.drift_alerts > 0

# ---- Lineage ----------------------------------------------------------------------------------------------------

facts := {"run_id", "data", "code", "schema", "pipeline", "bundle_sha256"}

known contains fact if {
	some fact in facts
	is_string(input.lineage[fact])
	input.lineage[fact] != ""
}

passed contains "lineage" if {
	every fact in facts { fact in known }
}

explained contains {
	"rule": "lineage",
	"message": concat("", ["it is not known where it came from: ", concat(", ", sort(facts - known))]),
	"remedy": "deploy what a pipeline run has registered; its run notes data, code and bundle",
}

# ---- The validation report --------------------------------------------------------------------------------------

passed contains "report" if {
	input.report.sha256 != ""
	count(signatures) > 0
}

signatures contains name if {
	some name in input.report.signed_by
	is_string(name)
	name != ""
}

explained contains {
	"rule": "report",
	"message": "its validation report is not known",
	"remedy": "train it with a release that notes its report; the registry is read every minute",
} if input.report.sha256 == ""

explained contains {
	"rule": "report",
	"message": sprintf("nobody has signed off its validation report %s", [substring(input.report.sha256, 0, 16)]),
	"remedy": "read it, and ask an approver for `divisions approve ENDPOINT@VERSION --report FILE`",
} if input.report.sha256 != ""

# ---- Who trained it ---------------------------------------------------------------------------------------------

passed contains "trainer" if {
	is_string(input.trainer)
	input.trainer != ""
	input.trainer in input.authors
}

explained contains {
	"rule": "trainer",
	"message": "it is not known who has trained it",
	"remedy": "train it while a gateway is up, with a token",
}

# ---- Approvals: in production, nobody's own version -------------------------------------------------------------

is_production if input.environment in data.divisions.settings.production

needed := max([0, input.asked.approvals, data.divisions.settings.approvals]) if not is_production

needed := max([1, input.asked.approvals, data.divisions.settings.approvals]) if is_production

approvers contains approval.name if {
	not is_production
	some approval in input.approvals
	approval.role in data.divisions.access.approvers
	approval.name != ""
}

approvers contains approval.name if {
	is_production
	count(input.authors) > 0
	some approval in input.approvals
	approval.role in data.divisions.access.approvers
	approval.name != ""
	every author in input.authors { approval.name != author }
}

passed contains "approvals" if count(approvers) >= needed

explained contains {
	"rule": "approvals",
	"message": sprintf("%d of %d approvals that count", [count(approvers), needed]),
	"remedy": "ask an approver for `divisions approve VERSION`; in production, nobody approves what they made",
} if {
	not is_production
}

explained contains {
	"rule": "approvals",
	"message": sprintf("%d of %d approvals that count in production", [count(approvers), needed]),
	"remedy": "ask an approver who has not made this version for `divisions approve VERSION`",
} if {
	is_production
	count(input.authors) > 0
}

explained contains {
	"rule": "approvals",
	"message": "it is not known who made this version, so anybody's approval could be their own",
	"remedy": "deploy it from a pipeline run, with a token that has a name",
} if {
	is_production
	count(input.authors) == 0
}

# ---- Freeze windows: the time is the question's, never the engine's ---------------------------------------------

passed contains "freeze" if {
	is_number(input.now_s)
	input.asked.frozen_until == ""
	every window in data.divisions.settings.freeze { outside(window) }
}

outside(window) if input.now_s < window.from_s

outside(window) if input.now_s >= window.to_s

explained contains {
	"rule": "freeze",
	"message": sprintf("nothing gets more traffic from %s to %s: %s", [window.from, window.to, window.why]),
	"remedy": "wait until it is over; rollback is always possible",
} if {
	some window in data.divisions.settings.freeze
	not outside(window)
}

explained contains {
	"rule": "freeze",
	"message": sprintf("its pipeline is frozen: %s", [input.asked.frozen_until]),
	"remedy": "wait until it is over; rollback is always possible",
} if {
	input.asked.frozen_until != ""
}

# ---- Where it comes from ----------------------------------------------------------------------------------------

below(address, prefix) if address == prefix

below(address, prefix) if startswith(address, concat("", [trim_suffix(prefix, "/"), "/"]))

in_any(address, prefixes) if count(prefixes) == 0

in_any(address, prefixes) if {
	some prefix in prefixes
	prefix != ""
	below(address, prefix)
}

passed contains "store" if {
	is_string(input.store)
	in_any(input.store, data.divisions.settings.stores)
	in_any(input.store, input.asked.stores)
}

explained contains {
	"rule": "store",
	"message": sprintf("its bundle is in %s, which is not allowed", [input.store]),
	"remedy": "keep bundles in a store that the policy names",
}

passed contains "image" if {
	is_null(input.image)
	data.divisions.settings.need_image == false
	input.asked.images == []
}

passed contains "image" if {
	regex.match(`^sha256:[0-9a-f]{64}$`, input.image.digest)
	in_any(concat("/", [input.image.registry, input.image.repository]), data.divisions.settings.registries)
	in_any(concat("/", [input.image.registry, input.image.repository]), input.asked.images)
	listed(input.image.digest)
}

listed(digest) if count(data.divisions.settings.image_digests) == 0

listed(digest) if digest in data.divisions.settings.image_digests

explained contains {
	"rule": "image",
	"message": "it is not known which image serves",
	"remedy": "deploy by manifests that name an image by its digest, or take need_image and the pipeline's images away",
} if is_null(input.image)

explained contains {
	"rule": "image",
	"message": sprintf(
		"the image %s/%s with digest %s is not allowed",
		[input.image.registry, input.image.repository, input.image.digest],
	),
	"remedy": "name an image by its digest, from a registry and with a digest that data.yaml and the pipeline allow",
}
