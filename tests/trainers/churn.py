"""Made-up customers for tests of training: small, with every kind of feature, and a label that can be learnt."""

from __future__ import annotations

import numpy as np
import pandas as pd

from divisions.pipeline.definition import Features, Hyperparams
from divisions.schema import Feature, FeatureKind, FeatureSchema
from trainers.training.loop import TrainingData

SCHEMA = FeatureSchema(
    (
        Feature("minutes", FeatureKind.NUMERIC),
        Feature("plan", FeatureKind.CATEGORICAL, ("basic", "gold", "pro")),
        Feature("calls", FeatureKind.NUMERIC),
        Feature("roams", FeatureKind.BOOLEAN),
    )
)
HYPERPARAMS = Hyperparams(epochs=4, batch_size=32, hidden=(16,), embedding_dim=4, patience=0)


def rows_and_labels(num_rows: int = 300, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Encoded rows ``[N, 4]`` and labels ``[N]``: who calls support often, or is on plan "pro", leaves."""
    rng = np.random.default_rng(seed)
    minutes = rng.normal(200.0, 50.0, num_rows)
    plan = rng.integers(1, 4, num_rows).astype(float)
    calls = rng.poisson(2.0, num_rows).astype(float)
    roams = rng.integers(0, 2, num_rows).astype(float)
    labels = ((calls >= 4) | (plan == 3)) & (rng.random(num_rows) < 0.9)
    rows = np.stack([minutes, plan, calls, roams], axis=1).astype(np.float32)
    return rows, labels.astype(np.float32)


def training_data(num_rows: int = 300, seed: int = 0) -> TrainingData:
    rows, labels = rows_and_labels(num_rows, seed)
    cut = num_rows * 4 // 5
    return TrainingData(rows[:cut], labels[:cut], rows[cut:], labels[cut:])


def raw_frame(num_rows: int = 1600, seed: int = 0, day: str = "2025-01-13") -> pd.DataFrame:
    """The same customers as raw events."""
    rows, labels = rows_and_labels(num_rows, seed)
    plans = [SCHEMA.features[1].categories[int(code) - 1] for code in rows[:, 1]]
    return pd.DataFrame(
        {
            "customer_id": [f"c-{seed}-{index}" for index in range(num_rows)],
            "event_time": pd.date_range(day, periods=num_rows, freq="s", tz="UTC"),
            "minutes": rows[:, 0].astype(float),
            "plan": plans,
            "calls": rows[:, 2].astype(float),
            "roams": rows[:, 3] > 0.5,
            "churn": labels > 0.5,
        }
    )


FEATURES = Features(holdout_fraction=0.25)
