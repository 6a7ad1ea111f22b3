"""The pipeline file as typed values. `divisions.pipeline.file` parses the YAML into them.

All defaults are here. A section that is absent from the file has its defaults.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import ClassVar

from divisions.analysis_spec import AnalysisSpec
from divisions.control import FULL_BP, AccessPolicy, EngineChoice, OnlinePolicy, Placement
from divisions.pipeline.feature_definition import Absence, FeatureDefinition
from divisions.pipeline.trigger import Cron
from divisions.prediction_log import LogPolicy
from divisions.promotion import NO_POLICY, PromotionPolicy
from divisions.scaling import Scaling
from divisions.trials import DEFAULT_BUDGET_S


class Device(enum.StrEnum):
    CPU = "cpu"
    GPU = "gpu"


@dataclass(frozen=True, slots=True)
class Runtime:
    """``python:3.11-gpu``. ``python`` is empty where the file names none."""

    python: str = ""
    device: Device = Device.CPU


@dataclass(frozen=True, slots=True)
class Resources:
    """``2vCPU, 8GB RAM`` or ``T4-GPU, 16GB VRAM``. ``accelerator_type`` is Ray's name, such as ``T4``."""

    num_cpus: float = 1.0
    memory_gb: float | None = None
    num_gpus: float = 0.0
    accelerator_type: str | None = None
    vram_gb: float | None = None


@dataclass(frozen=True, slots=True)
class DataFormat:
    """How raw files are written, where it is declared. An empty value means: find out.

    Attributes:
        delimiter: between the fields of CSV.
        encoding: of text files without a byte order mark, as Python names it.
        decimal: the decimal mark of numbers that are text, ``.`` or ``,``.
        thousands: what separates their groups of three digits.
        null: the words that mean a missing value, instead of the usual ones.
        event_time_format: of event times that are text, as ``strptime`` takes it.
    """

    delimiter: str = ""
    encoding: str = ""
    decimal: str = ""
    thousands: str = ""
    null: tuple[str, ...] = ()
    event_time_format: str = ""


class Distribution(enum.StrEnum):
    """Whether raw events are read over the nodes of the cluster. ``auto`` decides by their size."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class DataPrep:
    """``input`` still contains its variables. `divisions.pipeline.variables.expand` replaces them."""

    input: str
    runtime: Runtime = Runtime()
    resources: Resources = Resources()
    format: DataFormat = DataFormat()
    distributed: Distribution = Distribution.AUTO


class ModelKind(enum.StrEnum):
    """What is trained. Each kind has hyperparameters of its own."""

    MLP = "mlp"
    TABM = "tabm"
    GRADIENT_BOOSTING = "gradient_boosting"


@dataclass(frozen=True, slots=True)
class Hyperparams:
    """Those of an MLP. ``patience``: training ends after so many epochs without a lower validation loss; 0 never."""

    learning_rate: float = 0.001
    batch_size: int = 256
    epochs: int = 50
    weight_decay: float = 0.01
    dropout: float = 0.1
    hidden: tuple[int, ...] = (128, 128)
    embedding_dim: int = 8
    patience: int = 10
    seed: int = 0

    @property
    def kind(self) -> ModelKind:
        return ModelKind.MLP


@dataclass(frozen=True, slots=True)
class TabmHyperparams(Hyperparams):
    """``members`` networks share their weights, but for a scale of each input and output."""

    learning_rate: float = 0.003
    members: int = 8

    @property
    def kind(self) -> ModelKind:
        return ModelKind.TABM


@dataclass(frozen=True, slots=True)
class BoostingHyperparams:
    """An epoch is one tree. ``l2`` shrinks the values of leaves, ``max_features`` is the share of columns that each
    split may choose from."""

    learning_rate: float = 0.05
    epochs: int = 500
    max_leaves: int = 8
    min_leaf_rows: int = 20
    l2: float = 1.0
    max_features: float = 0.5
    patience: int = 50
    seed: int = 0

    @property
    def kind(self) -> ModelKind:
        return ModelKind.GRADIENT_BOOSTING


AnyHyperparams = Hyperparams | BoostingHyperparams


@dataclass(frozen=True, slots=True)
class Training:
    runtime: Runtime = Runtime()
    resources: Resources = Resources()
    hyperparams: AnyHyperparams = Hyperparams()
    workers: int = 1
    trials: int = 1
    """How many sets of hyperparameters a run tries before it trains with the best; 1 means those of the file only."""
    budget_s: float = DEFAULT_BUDGET_S
    """How long it may try them."""


class Comparison(enum.StrEnum):
    GREATER = ">"
    GREATER_EQUAL = ">="
    LESS = "<"
    LESS_EQUAL = "<="


@dataclass(frozen=True, slots=True)
class Gate:
    """``auc > 0.85``: the comparison of metric and threshold must be true."""

    metric: str
    comparison: Comparison
    threshold: float

    def __str__(self) -> str:
        return f"{self.metric} {self.comparison.value} {self.threshold:g}"


DRIFT_GATE = Gate("drift_score", Comparison.LESS, 0.15)
GUESSING_GATE = Gate("auc_lower_bound", Comparison.GREATER, 0.5)
"""Better than guessing: the lower confidence bound of the AUC lies above that of a coin."""


CHALLENGER_GATE = Gate("auc_gain_upper", Comparison.GREATER_EQUAL, 0.0)
"""Not worse: the 95 % interval of the AUC's gain over the version in use does not lie wholly below 0."""


class Challenger(enum.StrEnum):
    """What a new version must be, beside the one in use."""

    NOT_WORSE = "not_worse"


class RollbackPolicy(enum.StrEnum):
    AUTO = "auto"
    HOLD = "hold"


class OnUnknown(enum.StrEnum):
    """What a gate does whose metric cannot be measured."""

    PASS = "pass"
    REFUSE = "refuse"


@dataclass(frozen=True)
class MaxF1:
    """The threshold with the best F1."""

    NAME: ClassVar = "max_f1"

    def __str__(self) -> str:
        return self.NAME


@dataclass(frozen=True, slots=True)
class AtLeast:
    """``precision >= 0.8``: of the thresholds that reach it, the one with the most recall; and the other way round."""

    metric: str
    value: float

    def __str__(self) -> str:
        return f"{self.metric} >= {self.value:g}"


@dataclass(frozen=True, slots=True)
class Cost:
    """What a false alarm and a miss cost; the threshold with the lowest sum is chosen."""

    fp: float
    fn: float

    def __str__(self) -> str:
        return f"cost: {{fp: {self.fp:g}, fn: {self.fn:g}}}"


@dataclass(frozen=True, slots=True)
class FixedThreshold:
    """This threshold, whatever the data says."""

    threshold: float

    def __str__(self) -> str:
        return f"{self.threshold:g}"


DecisionRule = MaxF1 | AtLeast | Cost | FixedThreshold
"""How the threshold is chosen that makes a probability yes or no."""


@dataclass(frozen=True, slots=True)
class Validation:
    """Gates that a model must pass before it may serve. Those on guessing and drift are among them, unless the file
    changes that. ``on_unknown`` None means: an unknown drift passes with a warning, any other metric refuses."""

    gates: tuple[Gate, ...] = (GUESSING_GATE, DRIFT_GATE)
    rollback_policy: RollbackPolicy = RollbackPolicy.AUTO
    on_unknown: OnUnknown | None = None
    decision: DecisionRule = MaxF1()


@dataclass(frozen=True, slots=True)
class Label:
    """The column to predict and what its values mean, or the absence of events.

    Attributes:
        column: empty means the endpoint's name.
        positive: the words that mean 1, in any case; without any, the usual ones: yes, true, 1 and the like.
        negative: the words that mean 0; empty means all other words, if ``positive`` is given.
        absence: the events whose absence is the label, which is no column then.
    """

    column: str = ""
    positive: tuple[str, ...] = ()
    negative: tuple[str, ...] = ()
    absence: Absence | None = None


@dataclass(frozen=True, slots=True)
class Features:
    """The meaning of columns. Columns outside ``numeric``, ``categorical`` and ``boolean`` get the kind of their
    values."""

    entity: str = "customer_id"
    label: Label = Label()
    event_time: str = "event_time"
    event_time_constant: str = ""
    """The time of all rows, for tables without such a column. May contain variables."""
    numeric: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    boolean: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    """Names, or patterns of names such as ``*_id``."""
    holdout_fraction: float = 0.2
    """Share of customers that training never uses. Metrics are computed on them. A hash of the entity selects them."""
    define: tuple[FeatureDefinition, ...] = ()
    """Features over events. Empty means: every column of an entity's newest event is a feature."""


@dataclass(frozen=True, slots=True)
class Model:
    """An empty ``name`` means ``<endpoint>-predictor``."""

    name: str = ""
    major: int = 1
    """Major version. The default is N of ``-vN`` at the end of the pipeline's name. Versions read
    ``major.registry``."""
    kind: ModelKind = ModelKind.MLP


@dataclass(frozen=True, slots=True)
class Serving:
    """Replicas of one version; with ``scaling``, their number follows the load.

    A replica gets ``num_gpus`` GPUs, or ``canary_num_gpus`` if the version starts as a canary.

    By default, a pipeline that trains on a GPU serves on a GPU of the same type. If the cluster has none, the replicas
    run on CPUs, with a notice.
    """

    replicas: int = 2
    num_cpus: float = 0.5
    num_gpus: float = 0.0
    canary_num_gpus: float = 0.0
    max_batch: int = 256
    accelerator_type: str | None = None
    placement: Placement = Placement.REPLICAS
    engine: EngineChoice = EngineChoice.AUTO
    online: OnlinePolicy = OnlinePolicy()
    vram_gb: float | None = None
    """Memory of a whole GPU; None means its real size. Each replica may use its share of it."""
    scaling: Scaling | None = None
    """Set where ``replicas`` is a section; ``replicas`` is its minimum then."""
    nodes: tuple[tuple[str, str], ...] = ()
    """Labels that a replica's node must have, and their values."""
    log: LogPolicy | None = None
    """What is logged of its answers; None for nothing."""
    access: AccessPolicy = AccessPolicy()


@dataclass(frozen=True, slots=True)
class Deployment:
    """``canary: 20% → 50% → 100%`` of ``/api/v2/predict/churn``."""

    endpoint: str
    """The endpoint's name: the path's last segment."""
    steps_bp: tuple[int, ...] = (2_000, 5_000, FULL_BP)
    analysis: AnalysisSpec = AnalysisSpec()


@dataclass(frozen=True, slots=True)
class Slo:
    """What is promised to an endpoint's callers, over 30 days.

    Attributes:
        availability: share of the requests that do not fail; None if it is not promised.
        latency_ms: within which the share ``latency_share`` of the answers comes; None if it is not promised.
    """

    availability: float | None = None
    latency_ms: float | None = None
    latency_share: float = 0.99


@dataclass(frozen=True, slots=True)
class Pipeline:
    name: str
    data_prep: DataPrep
    deployment: Deployment
    training: Training = Training()
    validation: Validation = Validation()
    trigger: Cron | None = None
    features: Features = Features()
    model: Model = Model()
    serving: Serving = Serving()
    slo: Slo | None = None
    policy: PromotionPolicy = NO_POLICY

    @property
    def model_name(self) -> str:
        return self.model.name or f"{self.deployment.endpoint}-predictor"

    @property
    def label(self) -> str:
        """The label's column, or its name."""
        return self.features.label.column or self.deployment.endpoint
