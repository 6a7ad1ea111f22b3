"""A bundle and what is known of it."""

import msgspec

from divisions.attestation.facts import BundleFacts
from divisions.bundle import Manifest
from divisions.schema import Feature, FeatureKind, FeatureSchema

MANIFEST = Manifest(
    model="churn-predictor",
    pipeline="customer-churn-v3",
    run_id="4821",
    created_at="2025-01-14T08:32:00+00:00",
    schema=FeatureSchema((Feature("minutes", FeatureKind.NUMERIC),)),
    metrics={"auc": 0.912, "precision": 0.88},
    files={"model.onnx": "1" * 64, "reference.json": "2" * 64},
    input_uri="s3://raw-events/partition=2025-01-14",
    framework="PyTorch 2.8",
)
LINEAGE = {
    "partition": "2025-01-14",
    "data_sha256": "3" * 64,
    "rows_read": "7000",
    "pipeline_sha256": "4" * 64,
    "git_commit": "5" * 40,
    "code": "0.1.0 (0123456789)",
    "python": "3.11.2",
    "packages": "numpy==2.3.1 torch==2.8.0+cpu",
    "offline_features": "features/of/this/machine.parquet",
    "registered_from": "3.1",
}
BY_CONTENT = msgspec.structs.replace(MANIFEST, run_id="", created_at="", input_uri="", format_version=2)
"""As bundles are written now: what a run adds is known from elsewhere."""
FACTS = BundleFacts(MANIFEST, LINEAGE, {"epochs": "50", "learning_rate": "0.001"}, 1_736_843_520.7)
