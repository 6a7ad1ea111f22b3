"""Which kind of model is best: ``python -m benchmarks.kinds --output json``.

Repeated 5-fold cross-validation. Of each fold, a tenth of the customers to learn from selects the best epoch,
calibrates and sets the threshold, as a run does; the held-out customers give the figures. Beside our kinds stands
scikit-learn's HistGradientBoostingClassifier with its defaults, on the same folds, with categories as such. It learns
from the tenth, too. The customers come through our own preparation. Times are CPU seconds, for one thread.

The calibration error of few customers is mostly chance. So it is taken over the held-out customers of all folds of a
repetition: each customer once, scored by a model that has not seen him.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks.harness.command import Say, benchmark_parser, run_benchmark
from benchmarks.harness.machine import Machine, describe_machine
from benchmarks.harness.markdown import markdown_table
from benchmarks.lab.kinds_speed import KindSpeed, measure_speed
from divisions.errors import UsageError
from divisions.pipeline.definition import (
    AnyHyperparams,
    BoostingHyperparams,
    Features,
    Hyperparams,
    Label,
    MaxF1,
    TabmHyperparams,
)
from divisions.schema import FeatureKind, FeatureSchema
from divisions.settings import S3Settings

FOLDS = 5
VALIDATION_FOLDS = 10
BASELINE = "HistGradientBoosting"
KINDS: tuple[AnyHyperparams, ...] = (BoostingHyperparams(), Hyperparams(), TabmHyperparams())
NETWORKS = tuple(one.kind.value for one in KINDS if isinstance(one, Hyperparams))
DATASETS = ("mlc_churn", "wa_churn")

Vector = NDArray[np.float64]


class KindScores(msgspec.Struct, frozen=True):
    """Means over all folds. ``auc_gain`` is the mean of the AUC less the baseline's on the same fold, ``gain_error``
    its standard error over the folds. ``ece`` is the mean over repetitions."""

    dataset: str
    kind: str
    customers: int
    repetitions: int
    auc: float
    auc_gain: float
    gain_error: float
    ece: float
    precision: float
    recall: float
    cpu_s: float


class KindsResult(msgspec.Struct, frozen=True, tag="kinds"):
    machine: Machine
    seed: int
    rows: list[KindScores]
    speed: list[KindSpeed]


@dataclass(frozen=True, slots=True)
class Table:
    """Encoded customers. **Shape**: ``x_NF``, ``y_N``."""

    name: str
    schema: FeatureSchema
    x_NF: NDArray[np.float32]
    y_N: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Scored:
    """A model's probabilities for the held-out customers, the threshold that it would use, and its CPU time."""

    scores_N: Vector
    threshold: float
    cpu_s: float


def prepared_table(name: str, source: Path, label: str, entity: str) -> Table:
    """The customers of one file, by our preparation."""
    from trainers.data.preparation import PreparationTask, prepare

    features = Features(entity=entity, label=Label(label), event_time_constant=dt.date(2025, 1, 13).isoformat())
    table = prepare(PreparationTask(str(source), features, label, 0, S3Settings(), ())).table
    return Table(name, table.schema, table.x, table.y)


def demo_table(name: str, folder: Path) -> Table:
    from trainers.demo_data import load_customers

    path = folder / f"{name}.parquet"
    load_customers(name).to_parquet(path)
    return prepared_table(name, path, "churn", "customer_id")


def fold_of(labels_N: NDArray[np.float32], count: int, seed: int) -> NDArray[np.int64]:
    """Each row's fold; each fold has its share of both labels. **Shape**: ``[N]``."""
    rng = np.random.default_rng(seed)
    fold_N = np.zeros(len(labels_N), np.int64)
    for label in (0.0, 1.0):
        rows = rng.permutation(np.flatnonzero(labels_N == label))
        fold_N[rows] = np.arange(len(rows)) % count
    return fold_N


def score_kind(hyperparams: AnyHyperparams, table: Table, is_held_N: NDArray[np.bool_], seed: int) -> Scored:
    """Trains, calibrates and decides as a run does."""
    from trainers.training.calibration import fit_calibration, sigmoid
    from trainers.training.kinds import logits_of, train
    from trainers.training.training_rows import TrainingData
    from trainers.validation.thresholds import choose_threshold

    x_NF, y_N = table.x_NF[~is_held_N], table.y_N[~is_held_N]
    is_valid_N = fold_of(y_N, VALIDATION_FOLDS, seed) == 0
    data = TrainingData(x_NF[~is_valid_N], y_N[~is_valid_N], x_NF[is_valid_N], y_N[is_valid_N])
    started_s = time.process_time()
    trained = train(table.schema, data, hyperparams, lambda *_: None)
    found = fit_calibration(logits_of(trained, data.valid_rows_NF), data.valid_labels_N)
    trained.recalibrate(found.slope, found.offset)
    cpu_s = time.process_time() - started_s
    chosen = choose_threshold(MaxF1(), data.valid_labels_N, sigmoid(logits_of(trained, data.valid_rows_NF)))
    return Scored(sigmoid(logits_of(trained, table.x_NF[is_held_N])), chosen.threshold, cpu_s)


def score_baseline(table: Table, is_held_N: NDArray[np.bool_], seed: int) -> Scored:
    from sklearn.ensemble import HistGradientBoostingClassifier

    frame = _frame(table)
    started_s = time.process_time()
    model = HistGradientBoostingClassifier(random_state=seed).fit(frame[~is_held_N], table.y_N[~is_held_N])
    cpu_s = time.process_time() - started_s
    return Scored(model.predict_proba(frame[is_held_N])[:, 1], 0.5, cpu_s)


def _frame(table: Table) -> Any:
    import pandas as pd

    columns = {}
    for index, feature in enumerate(table.schema.features):
        column = pd.Series(table.x_NF[:, index])
        columns[feature.name] = column.astype("category") if feature.kind is FeatureKind.CATEGORICAL else column
    return pd.DataFrame(columns)


def cross_validate(table: Table, repetitions: int, of_networks: int, seed: int, say: Say) -> list[KindScores]:
    """The scores of every kind, and of the baseline first. Networks take so long that they may have fewer repetitions;
    their gains are over the baseline of these."""
    from threadpoolctl import threadpool_limits

    from trainers.training.evaluate import auc, calibration_error, threshold_metrics
    from trainers.training.model import use_threads

    use_threads(1)
    scorers: dict[str, Callable[[NDArray[np.bool_], int], Scored]] = {
        BASELINE: lambda held, number: score_baseline(table, held, number)
    }
    for hyperparams in KINDS:
        scorers[hyperparams.kind.value] = lambda held, number, h=hyperparams: score_kind(h, table, held, number)  # type: ignore[misc]
    folds: dict[str, list[tuple[float, float, float, float]]] = {name: [] for name in scorers}
    errors: dict[str, list[float]] = {name: [] for name in scorers}
    for repetition in range(repetitions):
        fold_N = fold_of(table.y_N, FOLDS, seed + repetition)
        for name, scorer in scorers.items():
            if repetition >= of_networks and name in NETWORKS:
                continue
            pooled_N = np.zeros(len(table.y_N))
            for fold in range(FOLDS):
                is_held_N = fold_N == fold
                with threadpool_limits(limits=1):
                    scored = scorer(is_held_N, seed + FOLDS * repetition + fold)
                labels_N = table.y_N[is_held_N]
                decided = threshold_metrics(labels_N, scored.scores_N, scored.threshold)
                area = auc(labels_N, scored.scores_N)
                folds[name].append((area, decided["precision"], decided["recall"], scored.cpu_s))
                pooled_N[is_held_N] = scored.scores_N
            errors[name].append(calibration_error(table.y_N, pooled_N))
            say(f"{table.name} {repetition + 1} {name}: AUC {np.mean([one[0] for one in folds[name]]):.4f}")
    baseline = np.array(folds[BASELINE])
    return [_row(table, name, np.array(found), errors[name], baseline) for name, found in folds.items() if found]


def _row(table: Table, kind: str, found: Vector, errors: Sequence[float], baseline: Vector) -> KindScores:
    gains = found[:, 0] - baseline[: len(found), 0]
    area, precision, recall, cpu_s = found.mean(axis=0).tolist()
    return KindScores(
        table.name,
        kind,
        len(table.y_N),
        len(errors),
        area,
        float(gains.mean()),
        float(gains.std(ddof=1) / len(gains) ** 0.5),
        float(np.mean(errors)),
        precision,
        recall,
        cpu_s,
    )


def render_kinds(found: KindsResult) -> str:
    scores = markdown_table(
        [
            "customers",
            "kind",
            "repetitions",
            "AUC",
            "gain over the baseline",
            "ECE",
            "precision",
            "recall",
            "CPU s a training",
        ],
        [
            [
                row.dataset,
                row.kind,
                str(row.repetitions),
                f"{row.auc:.4f}",
                "" if row.kind == BASELINE else f"{row.auc_gain:+.4f} ± {row.gain_error:.4f}",
                f"{row.ece:.4f}",
                f"{row.precision:.3f}",
                f"{row.recall:.3f}",
                f"{row.cpu_s:.1f}",
            ]
            for row in found.rows
        ],
    )
    speed = markdown_table(
        ["kind", "rows a batch", "rows a CPU second", "µs a batch", "graph, kB"],
        [
            [one.kind, str(one.batch), f"{one.rows_per_cpu_s:,.0f}", f"{one.batch_us:,.0f}", f"{one.graph_kb:,.0f}"]
            for one in found.speed
        ],
    )
    return f"{scores}\n\n{speed}"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = benchmark_parser("kinds", "Kinds of models by repeated cross-validation.")
    parser.add_argument("--repetitions", type=int, default=5, help="of the five folds (default 5)")
    parser.add_argument(
        "--network-repetitions", type=int, default=2, help="of networks, at most; 0 for none (default 2)"
    )
    parser.add_argument("--datasets", default=",".join(DATASETS), help="of the demo data; empty for none")
    parser.add_argument("--file", action="append", default=[], help="more customers: FILE:LABEL:ENTITY, also repeated")
    options = parser.parse_args(arguments)

    def measure(work: Path, say: Say) -> KindsResult:
        tables = [demo_table(name, work) for name in options.datasets.split(",") if name]
        for one in options.file:
            path, label, entity = _file(one)
            tables.append(prepared_table(path.stem, path, label, entity))
        if not tables or options.repetitions < 1:
            raise UsageError("nothing to measure", remedy="name --datasets or a --file, and one --repetitions or more")
        machine = describe_machine(("divisions", "torch", "scikit-learn", "onnxruntime", "numpy"))
        speed = measure_speed(tables[0].schema, tables[0].x_NF, tables[0].y_N, KINDS)
        how = options.repetitions, options.network_repetitions, options.seed
        rows = [row for table in tables for row in cross_validate(table, *how, say)]
        return KindsResult(machine, options.seed, rows, speed)

    return run_benchmark(options, measure, render_kinds)


def _file(text: str) -> tuple[Path, str, str]:
    parts = text.rsplit(":", 2)
    if len(parts) != 3:
        raise UsageError(f"--file must be FILE:LABEL:ENTITY, got {text!r}", remedy="name the columns after the file")
    return Path(parts[0]), parts[1], parts[2]


if __name__ == "__main__":
    raise SystemExit(main())
