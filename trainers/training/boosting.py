"""Gradient boosting by scikit-learn's histogram trees; the result is arrays (`trainers.training.trees`).

An epoch is one tree. Trees are added until the validation loss has not fallen for ``patience`` trees, and the trees up
to the lowest loss are kept. Rows, hyperparameters and seed decide every tree. So a training that was interrupted starts
anew, and ends with the same trees.

Categories are split as sets. A column with more categories than a histogram has bins keeps the frequent ones apart; the
others count as unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from divisions.errors import TrainingError
from divisions.pipeline.definition import BoostingHyperparams
from divisions.schema import FeatureKind, FeatureSchema
from trainers.training.evaluate import auc
from trainers.training.loop import has_stalled
from trainers.training.training_rows import TrainingData
from trainers.training.trees import LEAF, BoostedTrees, float32_below

MAX_CATEGORIES = 254
"""scikit-learn's histograms have 255 bins, and one of them is for the unknown."""
NUM_ROUNDS = 20
"""Trees are added in so many rounds: scikit-learn bins the rows anew in each."""
PARITY_ROWS = 512
PARITY_TOLERANCE = 1e-6

TreeDone = Callable[[int, dict[str, float]], None]
"""Takes each tree's number, from 0, and its metrics."""


def fit_trees(
    schema: FeatureSchema, data: TrainingData, hyperparams: BoostingHyperparams, on_tree: TreeDone, num_threads: int = 1
) -> BoostedTrees:
    """Trains on the rows to learn from, and keeps the trees up to the lowest validation loss.

    Raises:
        TrainingError: all labels are the same, or the loss is no longer finite.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier
    from threadpoolctl import threadpool_limits

    _check_labels(data.train_labels_N)
    codes = _Codes(schema, data.train_rows_NF)
    chunk = max(1, hyperparams.epochs // NUM_ROUNDS)
    model = HistGradientBoostingClassifier(
        learning_rate=hyperparams.learning_rate,
        max_leaf_nodes=hyperparams.max_leaves,
        min_samples_leaf=hyperparams.min_leaf_rows,
        l2_regularization=hyperparams.l2,
        max_features=hyperparams.max_features,
        categorical_features=list(range(len(codes.categorical))) or None,
        early_stopping=False,
        warm_start=True,
        random_state=hyperparams.seed,
    )
    inputs_NF, labels_N = codes.inputs(data.train_rows_NF), data.train_labels_N
    losses: list[float] = []
    train_logits_N = valid_logits_N = np.zeros(0)
    for first in range(0, hyperparams.epochs, chunk):
        model.max_iter = min(first + chunk, hyperparams.epochs)
        with threadpool_limits(limits=num_threads):
            model.fit(inputs_NF, labels_N)
        new = codes.trees(model, model._predictors[first:])
        if first == 0:
            train_logits_N = np.full(len(labels_N), float(new.base[0]))
            valid_logits_N = np.full(len(data.valid_labels_N), float(new.base[0]))
        for train_N, valid_N in zip(new.values(data.train_rows_NF), new.values(data.valid_rows_NF), strict=True):
            train_logits_N, valid_logits_N = train_logits_N + train_N, valid_logits_N + valid_N
            metrics = {
                "train_loss": _log_loss(train_logits_N, labels_N),
                "valid_loss": _log_loss(valid_logits_N, data.valid_labels_N),
                "valid_auc": auc(data.valid_labels_N, valid_logits_N),
            }
            if not np.isfinite(metrics["train_loss"]):
                raise TrainingError(
                    f"the loss is no longer finite in epoch {len(losses) + 1}",
                    remedy="lower training.hyperparams.learning_rate, or look for extreme values in the data",
                )
            on_tree(len(losses), metrics)
            losses.append(metrics["valid_loss"])
            if has_stalled(losses, hyperparams.patience):
                break
        if has_stalled(losses, hyperparams.patience):
            break
    trees = codes.trees(model, model._predictors)
    probe_NF = data.train_rows_NF[:PARITY_ROWS]
    expected_N = model.decision_function(inputs_NF[:PARITY_ROWS])
    if not np.abs(trees.logits(probe_NF) - expected_N).max(initial=0.0) <= PARITY_TOLERANCE:
        raise TrainingError(
            "the trees differ from scikit-learn's own prediction",
            remedy="install the release of scikit-learn that constraints.txt names",
        )
    return trees.first(int(np.argmin(losses)) + 1)


class _Codes:
    """Between the schema's columns and scikit-learn's, which has the categorical ones first.

    ``values[c]`` are the codes that column c has in the training rows; the position is scikit-learn's code.
    """

    def __init__(self, schema: FeatureSchema, rows_NF: NDArray[np.float32]) -> None:
        kinds = [feature.kind is FeatureKind.CATEGORICAL for feature in schema.features]
        self.categorical = [i for i, is_categorical in enumerate(kinds) if is_categorical]
        self.order = self.categorical + [i for i, is_categorical in enumerate(kinds) if not is_categorical]
        self.num_known = [len(schema.features[i].categories) for i in self.categorical]
        self.values = [_frequent(rows_NF[:, i]) for i in self.categorical]
        self.num_columns = schema.num_columns

    def inputs(self, rows_NF: NDArray[np.float32]) -> NDArray[np.float32]:
        inputs_NF = rows_NF[:, self.order].copy()
        for c, values in enumerate(self.values):
            codes_N = inputs_NF[:, c]
            position_N = np.minimum(np.searchsorted(values, codes_N), max(0, len(values) - 1))
            is_there_N = (values[position_N] == codes_N) if len(values) else np.zeros(len(codes_N), bool)
            inputs_NF[:, c] = np.where(is_there_N, position_N, np.nan)
        return inputs_NF

    def trees(self, model: Any, predictors: Iterable[Any]) -> BoostedTrees:
        sets: dict[tuple[int, tuple[int, ...]], int] = {}
        roots: list[int] = []
        inputs_D: list[NDArray[np.int64]] = []
        thresholds_D: list[NDArray[np.float32]] = []
        all_nodes = []
        sides: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
        num_nodes = 0
        for (predictor,) in predictors:
            nodes = predictor.nodes
            inputs, thresholds = np.full(len(nodes), LEAF, np.int64), np.zeros(len(nodes), np.float32)
            for index in map(int, np.flatnonzero(nodes["is_leaf"] == 0)):
                node = nodes[index]
                if node["is_categorical"]:
                    column, words = int(node["feature_idx"]), predictor.raw_left_cat_bitsets[node["bitset_idx"]]
                    key = (column, self._not_members(column, words, bool(node["missing_go_to_left"])))
                    inputs[index] = self.num_columns + sets.setdefault(key, len(sets))
                    thresholds[index] = 0.5
                else:
                    inputs[index] = self.order[int(node["feature_idx"])]
                    thresholds[index] = float32_below(float(node["num_threshold"]))
            left, right = (nodes[side].astype(np.int64) + num_nodes for side in ("left", "right"))
            roots.append(num_nodes)
            inputs_D.append(inputs)
            thresholds_D.append(thresholds)
            sides.append((left, right))
            all_nodes.append(nodes)
            num_nodes += len(nodes)
        nodes_D = np.concatenate(all_nodes)
        members_SV = np.zeros((len(sets), max(self.num_known, default=0) + 2), np.float32)
        for (_, codes), set_index in sets.items():
            members_SV[set_index, list(codes)] = 1.0
        return BoostedTrees(
            root_T=np.array(roots, np.int64),
            input_D=np.concatenate(inputs_D),
            threshold_D=np.concatenate(thresholds_D),
            missing_left_D=nodes_D["missing_go_to_left"].astype(bool),
            left_D=np.concatenate([left for left, _ in sides]),
            right_D=np.concatenate([right for _, right in sides]),
            value_D=nodes_D["value"].astype(np.float64),
            set_column_S=np.array([self.categorical[c] for c, _ in sets], np.int64),
            set_members_SV=members_SV,
            num_known_S=np.array([self.num_known[c] for c, _ in sets], np.int64),
            base=np.array(model._baseline_prediction, np.float64).reshape(1),
            num_columns=np.array([self.num_columns], np.int64),
        )

    def _not_members(self, column: int, words: NDArray[np.uint32], missing_left: bool) -> tuple[int, ...]:
        """The codes that go right: 1 in the set's row, so that they are above the threshold."""
        positions = {code: position for position, code in enumerate(self.values[column])}
        right = []
        for code in range(self.num_known[column] + 2):
            position = positions.get(float(code))
            is_left = missing_left if position is None else bool(int(words[position // 32]) >> (position % 32) & 1)
            if not is_left:
                right.append(code)
        return tuple(right)


def _frequent(codes_N: NDArray[np.float32]) -> NDArray[np.float32]:
    values, counts = np.unique(codes_N[~np.isnan(codes_N)], return_counts=True)
    return np.sort(values[np.argsort(-counts, kind="stable")[:MAX_CATEGORIES]])


def _check_labels(labels_N: NDArray[np.float32]) -> None:
    if len(labels_N) == 0 or np.ptp(labels_N) == 0.0:
        raise TrainingError(
            f"all {len(labels_N):,} customers to learn from have the same label", remedy="add customers of the other"
        )


def _log_loss(logits_N: NDArray[np.float64], labels_N: NDArray[np.float32]) -> float:
    return float(np.mean(np.logaddexp(0.0, logits_N) - labels_N * logits_N)) if len(labels_N) else float("nan")
