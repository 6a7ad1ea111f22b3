"""How large a training is: its weights, and the memory that it takes. Pure.

The memory is an estimate of what is taken at once beyond the libraries: by the rows, by the weights with what the
optimizer keeps, and by the largest pass.
"""

from __future__ import annotations

from dataclasses import dataclass

from divisions.pipeline.definition import AnyHyperparams, BoostingHyperparams, Hyperparams, TabmHyperparams
from divisions.schema import FeatureSchema

_FLOAT = 4
_COPIES_OF_WEIGHTS = 6
"""The weights, their gradients, two moments of AdamW, the best epoch's, and those of the checkpoint."""
_LEARNING, _SCORING = 140, 90
"""Numbers that a pass holds at once for each cell of its rows, with 18 inputs and 8 embedded ones of a number."""
_BYTES_A_TREE_CELL = 14
"""Rows in the schema's order and in scikit-learn's, their bins, and a copy of some of them while they are binned."""
_HISTOGRAM_BYTES = 256 * 24


@dataclass(frozen=True, slots=True)
class Cost:
    """``num_weights`` is 0 for trees, which have none before they are grown."""

    num_rows: int
    num_columns: int
    num_weights: int
    memory_bytes: int


def cost_of(schema: FeatureSchema, num_rows: int, hyperparams: AnyHyperparams) -> Cost:
    """What it takes to learn from so many rows."""
    num_columns = schema.num_columns
    cells = num_rows * num_columns
    if isinstance(hyperparams, BoostingHyperparams):
        memory = cells * _BYTES_A_TREE_CELL + hyperparams.max_leaves * num_columns * _HISTOGRAM_BYTES
        return Cost(num_rows, num_columns, 0, memory)
    from trainers.training.model import rows_a_pass

    weights = num_weights(schema, hyperparams)
    learning = _LEARNING
    if isinstance(hyperparams, TabmHyperparams):  # each member has inputs of its own
        learning += 3 * hyperparams.members * hyperparams.embedding_dim
    batch = min(hyperparams.batch_size, num_rows)
    largest = max(batch * learning, min(rows_a_pass(num_columns), num_rows) * _SCORING) * num_columns
    return Cost(num_rows, num_columns, weights, _FLOAT * (cells + _COPIES_OF_WEIGHTS * weights + largest))


def num_weights(schema: FeatureSchema, hyperparams: Hyperparams) -> int:
    """How many numbers a network learns."""
    from trainers.training.model import NUM_BINS, categorical_columns, numeric_columns

    width = hyperparams.embedding_dim
    numeric = len(numeric_columns(schema)) * (NUM_BINS + 3) * width  # the bins, the number, if it is missing, a bias
    tables = sum(len(schema.features[i].categories) + 2 for i in categorical_columns(schema)) * width
    total, inputs = numeric + tables, schema.num_columns * width
    members = hyperparams.members if isinstance(hyperparams, TabmHyperparams) else 0
    for outputs in hyperparams.hidden:
        total += inputs * outputs + (members * (inputs + 2 * outputs) if members else outputs)
        inputs = outputs
    return total + max(1, members) * (inputs + 1)
