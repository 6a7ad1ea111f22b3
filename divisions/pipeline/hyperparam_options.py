"""The section ``stages.training.hyperparams``: each kind of model has keys of its own."""

from __future__ import annotations

from typing import assert_never

from divisions.pipeline.definition import (
    AnyHyperparams,
    BoostingHyperparams,
    Hyperparams,
    ModelKind,
    TabmHyperparams,
)
from divisions.pipeline.yaml_sections import Section, integer, items, number

_LEARNING_RATE = number(0, 10, is_low_open=True)
_EPOCHS = integer(1, 10_000)
_PATIENCE = integer(0, 10_000)
_SEED = integer(0, 2**32 - 1)


def hyperparams(section: Section, kind: ModelKind) -> AnyHyperparams:
    with section:
        match kind:
            case ModelKind.MLP:
                return _network(section, Hyperparams())
            case ModelKind.TABM:
                default = TabmHyperparams()
                network = _network(section, default)
                members = section.take("members", integer(1, 256), default.members)
                return TabmHyperparams(
                    **{name: getattr(network, name) for name in Hyperparams.__slots__}, members=members
                )
            case ModelKind.GRADIENT_BOOSTING:
                return _boosting(section, BoostingHyperparams())
        assert_never(kind)


def _network(section: Section, default: Hyperparams) -> Hyperparams:
    return Hyperparams(
        learning_rate=section.take("learning_rate", _LEARNING_RATE, default.learning_rate),
        batch_size=section.take("batch_size", integer(1, 1_000_000), default.batch_size),
        epochs=section.take("epochs", _EPOCHS, default.epochs),
        weight_decay=section.take("weight_decay", number(0, 10), default.weight_decay),
        dropout=section.take("dropout", number(0, 1, is_high_open=True), default.dropout),
        hidden=section.take("hidden", items(integer(1, 16_384), most=16), default.hidden),
        embedding_dim=section.take("embedding_dim", integer(1, 1_024), default.embedding_dim),
        patience=section.take("patience", _PATIENCE, default.patience),
        seed=section.take("seed", _SEED, default.seed),
    )


def _boosting(section: Section, default: BoostingHyperparams) -> BoostingHyperparams:
    return BoostingHyperparams(
        learning_rate=section.take("learning_rate", _LEARNING_RATE, default.learning_rate),
        epochs=section.take("epochs", _EPOCHS, default.epochs),
        max_leaves=section.take("max_leaves", integer(2, 1_024), default.max_leaves),
        min_leaf_rows=section.take("min_leaf_rows", integer(1, 1_000_000), default.min_leaf_rows),
        l2=section.take("l2", number(0, 1_000_000), default.l2),
        max_features=section.take("max_features", number(0, 1, is_low_open=True), default.max_features),
        patience=section.take("patience", _PATIENCE, default.patience),
        seed=section.take("seed", _SEED, default.seed),
    )
