"""The bill of materials: what CycloneDX's own schema takes, and the same for the same bundle."""

import json
from dataclasses import replace

import pytest

from divisions.attestation.facts import BundleFacts
from divisions.attestation.sbom import bill_of_materials, to_json
from divisions.bundle import Manifest
from divisions.schema import FeatureSchema
from tests.cyclonedx_schema import validator
from tests.divisions.attestation.facts import BY_CONTENT, FACTS, MANIFEST

UNKNOWN = BundleFacts(BY_CONTENT)
EARLIER = BundleFacts(Manifest("m", "p", "r", "2024-01-01T00:00:00+00:00", FeatureSchema(()), {}, {}))


def test_model_files_and_libraries_are_in_it():
    found = bill_of_materials(FACTS)
    model = found["metadata"]["component"]
    assert (model["type"], model["name"]) == ("machine-learning-model", "churn-predictor")
    assert model["hashes"] == [{"alg": "SHA-256", "content": MANIFEST.sha256}]
    metrics = model["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    assert metrics == [{"type": "auc", "value": "0.912"}, {"type": "precision", "value": "0.88"}]
    named = {each["name"]: (each["type"], each.get("hashes") or each.get("purl")) for each in found["components"]}
    assert named == {
        "model.onnx": ("file", [{"alg": "SHA-256", "content": "1" * 64}]),
        "reference.json": ("file", [{"alg": "SHA-256", "content": "2" * 64}]),
        "numpy": ("library", "pkg:pypi/numpy@2.3.1"),
        "torch": ("library", "pkg:pypi/torch@2.8.0%2Bcpu"),
    }
    (dependencies,) = found["dependencies"]
    assert dependencies["dependsOn"] == [each["bom-ref"] for each in found["components"]]


def test_it_is_the_same_for_the_same_bundle_and_another_for_another():
    assert to_json(bill_of_materials(FACTS)) == to_json(bill_of_materials(replace(FACTS, params={})))
    other = bill_of_materials(EARLIER)
    assert other["serialNumber"] != bill_of_materials(FACTS)["serialNumber"]


@pytest.mark.parametrize("facts", [FACTS, EARLIER, UNKNOWN], ids=["all", "earlier", "no run known"])
def test_the_schema_of_the_standard_takes_it(facts):
    document = json.loads(to_json(bill_of_materials(facts)))
    assert [error.json_path for error in validator().iter_errors(document)] == []
    assert [error.json_path for error in validator().iter_errors(document | {"componets": []})] == ["$"]
