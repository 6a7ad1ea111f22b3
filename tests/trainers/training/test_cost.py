"""The size of a training: the weights exactly, the memory so that it grows with what takes it."""

from dataclasses import replace

import numpy as np
import pytest

from divisions.pipeline.definition import BoostingHyperparams, Hyperparams, TabmHyperparams
from divisions.schema import Feature, FeatureKind, FeatureSchema
from trainers.training.cost import cost_of, num_weights
from trainers.training.model import build_model

MIXED = (
    Feature("minutes", FeatureKind.NUMERIC),
    Feature("plan", FeatureKind.CATEGORICAL, ("basic", "gold", "silver")),
    Feature("abroad", FeatureKind.BOOLEAN),
)


@pytest.mark.parametrize(
    "hyperparams",
    [
        Hyperparams(),
        Hyperparams(hidden=(7,), embedding_dim=3),
        TabmHyperparams(),
        TabmHyperparams(hidden=(5, 6, 7), members=3, embedding_dim=2),
    ],
)
@pytest.mark.parametrize("features", [MIXED, MIXED[:1], MIXED[1:2]], ids=["mixed", "numbers", "categories"])
def test_the_weights_are_those_of_the_network(hyperparams, features):
    schema = FeatureSchema(features)
    network = build_model(schema, np.ones((4, len(features)), np.float32), hyperparams)
    assert num_weights(schema, hyperparams) == sum(each.numel() for each in network.parameters())


def wide(num_columns):
    return FeatureSchema(tuple(Feature(f"x{index}", FeatureKind.NUMERIC) for index in range(num_columns)))


@pytest.mark.parametrize("hyperparams", [Hyperparams(), TabmHyperparams(), BoostingHyperparams()])
def test_memory_grows_with_rows_and_columns(hyperparams):
    one = cost_of(wide(100), 10_000, hyperparams).memory_bytes
    assert one < cost_of(wide(200), 10_000, hyperparams).memory_bytes
    assert one < cost_of(wide(100), 20_000, hyperparams).memory_bytes


def test_members_and_batches_take_memory_and_trees_have_no_weights():
    few, many = (cost_of(wide(3_000), 20_000, TabmHyperparams(members=each)) for each in (4, 16))
    assert few.memory_bytes < many.memory_bytes
    small, large = (cost_of(wide(3_000), 20_000, Hyperparams(batch_size=each)) for each in (256, 1_024))
    assert 2 * small.memory_bytes < large.memory_bytes
    assert cost_of(wide(3_000), 20_000, BoostingHyperparams()).num_weights == 0


def test_a_batch_is_no_larger_than_the_table():
    few = Hyperparams(batch_size=1_000)
    assert cost_of(wide(3_000), 1_000, few) == cost_of(wide(3_000), 1_000, replace(few, batch_size=1_000_000))
