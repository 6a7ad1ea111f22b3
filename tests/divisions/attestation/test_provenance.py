"""Where a bundle comes from: what the run has noted, in the fields of the standard."""

from dataclasses import replace

import msgspec

from divisions.attestation.facts import BundleFacts
from divisions.attestation.provenance import provenance
from divisions.bundle import Manifest
from divisions.schema import FeatureSchema
from tests.divisions.attestation.facts import BY_CONTENT, FACTS, LINEAGE, MANIFEST


def test_run_data_code_and_environment_are_in_it():
    found = provenance(FACTS, b"{}")
    assert found["buildDefinition"]["externalParameters"] == {
        "pipeline": "customer-churn-v3",
        "data": {"uri": "s3://raw-events/partition=2025-01-14", "partition": "2025-01-14"},
    }
    assert found["buildDefinition"]["internalParameters"] == {
        "hyperparameters": {"epochs": "50", "learning_rate": "0.001"}
    }
    assert found["buildDefinition"]["resolvedDependencies"] == [
        {
            "name": "prepared data",
            "uri": "s3://raw-events/partition=2025-01-14",
            "digest": {"sha256": "3" * 64},
            "annotations": {"partition": "2025-01-14", "rows_read": "7000"},
        },
        {"name": "pipeline file", "digest": {"sha256": "4" * 64}},
        {"name": "repository of the pipeline file", "digest": {"gitCommit": "5" * 40}},
        {"name": "python", "annotations": {"version": "3.11.2"}},
        {"name": "numpy", "uri": "pkg:pypi/numpy@2.3.1"},
        {"name": "torch", "uri": "pkg:pypi/torch@2.8.0%2Bcpu"},
    ]
    run = found["runDetails"]
    assert run["builder"] == {"id": "urn:divisions:trainers", "version": {"divisions": "0.1.0 (0123456789)"}}
    assert run["metadata"] == {"invocationId": "4821", "startedOn": "2025-01-14T08:32:00Z"}


def test_a_bundle_that_does_not_name_its_run_has_the_same_provenance():
    lineage = {**LINEAGE, "input_uri": MANIFEST.input_uri}
    facts = replace(FACTS, manifest=BY_CONTENT, lineage=lineage, trained_by="4821")
    assert provenance(facts, b"{}") == provenance(FACTS, b"{}")
    assert facts.created_at == "2025-01-14T08:32:00+00:00"
    assert BundleFacts(BY_CONTENT).created_at == ""


def test_the_bill_of_materials_is_a_part_of_it():
    assert (
        provenance(FACTS, b"one")["runDetails"]["byproducts"] != provenance(FACTS, b"two")["runDetails"]["byproducts"]
    )


def test_what_a_machine_or_a_later_registration_adds_changes_nothing():
    plain = {name: text for name, text in LINEAGE.items() if name not in {"offline_features", "registered_from"}}
    assert provenance(replace(FACTS, lineage=plain), b"") == provenance(FACTS, b"")


def test_a_model_of_an_earlier_release_has_what_is_known():
    manifest = Manifest("m", "p", "r", "2024-01-01", FeatureSchema(()), {}, {})
    found = provenance(BundleFacts(manifest), b"")
    assert found["buildDefinition"]["resolvedDependencies"] == []
    assert found["runDetails"]["metadata"] == {"invocationId": "r"}


def test_facts_name_the_bundle():
    assert FACTS.sha256 == MANIFEST.sha256
    assert FACTS.address == f"churn-predictor/{MANIFEST.sha256[:16]}"
    msgspec.json.encode(provenance(FACTS, b""))
