"""The validation stage: hold-out metrics, drift from the previous version, gates, and the report."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from divisions.bundle import REFERENCE, read_bundle
from divisions.errors import BundleError
from divisions.pipeline.definition import CHALLENGER_GATE, GUESSING_GATE, AtLeast, Challenger, DecisionRule, Validation
from divisions.versions import RegisteredVersion
from trainers.data.preparation import Prepared
from trainers.data.reference import FeatureHistogram, Reference, build_scores, count_rows
from trainers.export.exported import Calibrated
from trainers.export.half_precision import HalfParity
from trainers.training.calibration import Calibration
from trainers.training.evaluate import calibration_error, evaluate
from trainers.validation.champion import Champion, compare_with_champion
from trainers.validation.drift import MIN_ROWS, DriftReport, drift_report
from trainers.validation.gates import GateResult, GateVerdict, is_passed, judge
from trainers.validation.guessing import guessing_text
from trainers.validation.thresholds import Chosen

TIMES = frozenset({"latency_p99_ms"})
"""Metrics that differ from run to run."""
COMPARISONS = frozenset({"drift_score", "auc_gain", "auc_gain_lower", "auc_gain_upper"})
"""Metrics that depend on the version before."""


@dataclass(frozen=True, slots=True)
class Drift:
    """``score`` is NaN if it could not be measured. ``note`` names the compared version, or says why there is none."""

    score: float
    note: str
    report: DriftReport | None = None


@dataclass(frozen=True, slots=True)
class Decided:
    """The threshold that a rule has chosen on validation rows. ``shortfall`` says where the hold-out falls short of
    the rule; else it is empty."""

    rule: str
    chosen: Chosen
    shortfall: str

    @property
    def notes(self) -> tuple[str, ...]:
        return tuple(note for note in (self.chosen.note, self.shortfall) if note)


@dataclass(frozen=True, slots=True)
class Validated:
    """The outcome of all gates. ``holdout_fraction`` is the share of the customers that were held out, ``scores`` the
    histogram of their scores."""

    metrics: dict[str, float]
    drift: Drift
    gates: tuple[GateResult, ...]
    calibration: Calibration
    decided: Decided
    champion: Champion
    holdout_fraction: float = 0.2
    scores: FeatureHistogram | None = None

    @property
    def is_passed(self) -> bool:
        return is_passed(self.gates)

    @property
    def own_metrics(self) -> dict[str, float]:
        """Those of the model alone, the same whenever it is measured on the same rows. They are part of the bundle."""
        return {name: value for name, value in self.metrics.items() if name not in TIMES | COMPARISONS}

    @property
    def refusals(self) -> str:
        """The gates that refuse the model, as text; empty when none does."""
        return "; ".join(self._refusal(result) for result in self.gates if result.is_refused)

    @property
    def warnings(self) -> tuple[str, ...]:
        """The gates that could not be judged, and do not refuse the model."""
        return tuple(
            f"gate {result.gate} is not judged, because {self._why_unknown(result)}."
            " `on_unknown: refuse` under stages.validation would refuse the model"
            for result in self.gates
            if result.verdict is GateVerdict.UNKNOWN and not result.is_refused
        )

    @property
    def summary(self) -> str:
        """One line for the progress output."""
        num_unknown = len(self.warnings)
        passed = f"passed, {num_unknown} of {len(self.gates)} gates not judged" if num_unknown else "all gates passed"
        verdict = passed if self.is_passed else "refused"
        auc, drift = self.metrics["auc"], self.metrics["drift_score"]
        drift_text = "drift unknown" if math.isnan(drift) else f"drift {drift:.3f}"
        shares = ", ".join(_share(self.metrics, name) for name in ("precision", "recall"))
        at = f"at {self.decided.chosen.threshold:.3g}: {shares}"
        return f"auc {auc:.4f}, {at}, {drift_text} ({self.drift.note}); {verdict}"

    def _refusal(self, result: GateResult) -> str:
        if result.gate == GUESSING_GATE:
            return guessing_text(self.metrics, self.holdout_fraction)
        if result.gate == CHALLENGER_GATE and result.verdict is GateVerdict.FAIL:
            return f"challenger: {Challenger.NOT_WORSE}: {self.champion}"
        if result.verdict is GateVerdict.UNKNOWN:
            return (
                f"{result.gate}: {self._why_unknown(result)}."
                " `on_unknown: pass` under stages.validation lets such models pass, with a warning"
            )
        return str(result)

    def _why_unknown(self, result: GateResult) -> str:
        if result.gate == CHALLENGER_GATE:
            return f"the gain over the version in use is unknown: {self.champion.note}"
        what = f"{result.gate.metric} is unknown"
        return f"{what} {self.drift.note}" if result.gate.metric == "drift_score" else f"{what} on this hold-out"


def validate_model(
    prepared: Prepared,
    scores_N: NDArray[np.float32],
    chosen: Chosen,
    calibrated: Calibrated,
    latency_ms: float,
    previous: RegisteredVersion | None,
    validation: Validation,
) -> Validated:
    """Judges a model by ``scores_N``, its scores for the hold-out's rows, and by the threshold that was chosen on
    others."""
    drift = measure_drift(prepared, previous)
    champion = compare_with_champion(prepared, scores_N, previous)
    metrics = {
        **evaluate(prepared.holdout.y, scores_N, chosen.threshold),
        "calibration_error_before": calibration_error(prepared.holdout.y, calibrated.before_N),
        "drift_score": drift.score,
        "auc_gain": champion.gain.gain,
        "auc_gain_lower": champion.gain.lower,
        "auc_gain_upper": champion.gain.upper,
        "latency_p99_ms": latency_ms,
    }
    fraction = len(prepared.holdout) / (prepared.train.rows.num_customers + len(prepared.holdout))
    asked = tuple(gate for gate in validation.gates if not (gate == CHALLENGER_GATE and champion.is_missing))
    gates = judge(asked, metrics, validation.on_unknown)
    decided = Decided(str(validation.decision), chosen, _shortfall(validation.decision, chosen, metrics))
    scores = build_scores(scores_N)
    return Validated(metrics, drift, gates, calibrated.calibration, decided, champion, fraction, scores)


def _shortfall(rule: DecisionRule, chosen: Chosen, metrics: dict[str, float]) -> str:
    if not isinstance(rule, AtLeast) or chosen.note or metrics[rule.metric] >= rule.value:
        return ""
    return (
        f"the threshold {chosen.threshold:.3g} reaches {rule} on validation customers, but not on the hold-out:"
        f" {_share(metrics, rule.metric)}. More customers would make the choice more exact"
    )


def _share(metrics: dict[str, float], name: str) -> str:
    value = metrics[name]
    return f"{name} unknown" if math.isnan(value) else f"{name} {value:.3f}"


def measure_drift(prepared: Prepared, previous: RegisteredVersion | None) -> Drift:
    """Compares this run's raw rows with the reference histograms of the previous version.

    The first version has no previous version: its score is 0. The score is NaN if the reference cannot be read, or if
    one side has too few rows. NaN is unknown: `trainers.validation.gates` says what a gate makes of that.
    """
    if previous is None:
        return Drift(0.0, "no earlier version to drift from")
    against = f"against version {previous.version}"
    try:
        reference = _read_reference(previous.bundle_path, previous.bundle_sha256)
    except BundleError as error:
        return Drift(math.nan, f"{against}: {error.message}")
    names = [feature.name for feature in reference.features]
    counts = count_rows(reference, prepared.table.rows)
    report = drift_report(names, [histogram.counts for histogram in reference.histograms], counts)
    if not report.is_conclusive:
        rows = min(report.num_reference_rows, report.num_new_rows)
        return Drift(math.nan, f"{against}: {rows:,} customers are fewer than {MIN_ROWS:,}", report)
    worst = report.features[0]
    return Drift(report.score, f"{against}, most in {worst.name!r}" if report.score else against, report)


def details_json(
    prepared: Prepared, validated: Validated, parity: float, half_parity: HalfParity | None, features: str
) -> str:
    """What a run has seen in its data and measured, for programs. A metric that is NaN is null. ``features`` is the
    section of the pipeline file."""
    drift = validated.drift.report
    report = {
        "metrics": {name: _number(value) for name, value in validated.metrics.items()},
        "gates": [
            {
                "gate": str(result.gate),
                "value": result.value,
                "verdict": result.verdict.value,
                "refused": result.is_refused,
            }
            for result in validated.gates
        ],
        "warnings": list(validated.warnings),
        "calibration": {
            "slope": validated.calibration.slope,
            "offset": validated.calibration.offset,
            "note": validated.calibration.note,
            "error_before": _number(validated.metrics["calibration_error_before"]),
            "error_after": _number(validated.metrics["calibration_error"]),
        },
        "decision": {
            "rule": validated.decided.rule,
            "threshold": validated.decided.chosen.threshold,
            "notes": list(validated.decided.notes),
        },
        "parity_max_difference": parity,
        "parity_float16": {
            "max_difference": _number(half_parity.max_difference),
            "auc_loss": _number(half_parity.auc_loss),
            "refusal": half_parity.refusal,
        }
        if half_parity
        else None,
        "drift": {
            "score": _number(validated.drift.score),
            "note": validated.drift.note,
            "features": [{"name": one.name, "psi": one.psi, "bins": one.num_bins} for one in drift.features]
            if drift
            else [],
        },
        "champion": {
            "note": validated.champion.note,
            "auc": _number(validated.champion.gain.champion_auc),
            "gain": _number(validated.champion.gain.gain),
            "lower": _number(validated.champion.gain.lower),
            "upper": _number(validated.champion.gain.upper),
        },
        "data": {
            "uri": prepared.events.uri,
            "formats": prepared.events.formats,
            "rows_read": prepared.events.num_read,
            "rows_quarantined": prepared.events.num_quarantined,
            "quarantine_reasons": prepared.events.reasons,
            "customers_training": prepared.train.rows.num_customers,
            "customers_holdout": len(prepared.holdout),
            "features": features,
            "notes": list(prepared.table.notes),
            "columns": prepared.columns,
        },
    }
    return msgspec.json.format(msgspec.json.encode(report), indent=2).decode()


def _read_reference(bundle_path: Path, bundle_sha256: str) -> Reference:
    read_bundle(bundle_path, bundle_sha256)
    try:
        return Reference.from_json((bundle_path / REFERENCE).read_bytes())
    except (OSError, msgspec.MsgspecError) as error:
        raise BundleError(f"bundle {bundle_path}: {REFERENCE} cannot be read: {error}") from error


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
