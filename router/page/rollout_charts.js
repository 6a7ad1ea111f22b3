// The charts of a rollout: evidence, weight, and the latency of both arms. The controller keeps their curves since the
// rollout began; what comes between two of its tellings is added from the status.

import { Chart, LOG } from "./charts.js";
import { make } from "./dom.js";

export class RolloutCharts {
  #evidence;
  #weight;
  #arms;
  #armsFigure;
  #thresholds = [0, 0];
  #startedAtS = null;
  #curve = null;
  element;

  constructor() {
    const [evidence, weight, arms] = Array.from({ length: 3 }, () => make("div", { class: "chart" }));
    const caption = "Evidence against the canary, ln E, since the rollout began (UTC). Far below zero the line is cut off.";
    this.#armsFigure = make("figure", { hidden: true }, make("figcaption", {}, "Latency of both versions, ms, each line ten times the one below"), arms);
    this.element = make(
      "div",
      { class: "grid charts" },
      make("figure", {}, make("figcaption", {}, caption), evidence),
      make("figure", {}, make("figcaption", {}, "Weight of the canary, % of the traffic"), weight),
      this.#armsFigure,
    );
    this.#evidence = new Chart(
      evidence,
      [
        { label: "latency", colour: "--one" },
        { label: "errors", colour: "--two" },
        { label: "latency acts at", colour: "--one", dash: [6, 5] },
        { label: "errors act at", colour: "--two", dash: [2, 4] },
      ],
      (low, high) => {
        const top = Math.max(...this.#thresholds, 1);
        return [Math.max(Math.min(low ?? 0, -0.5), -top), Math.max(high ?? 0, top * 1.1)];
      },
    );
    this.#weight = new Chart(
      weight,
      [
        { label: "actual", colour: "--one", isStepped: true, unit: " %" },
        { label: "set", colour: "--two", dash: [2, 4], isStepped: true, unit: " %" },
      ],
      () => [0, 105],
    );
    this.#arms = new Chart(
      arms,
      [
        { label: "stable p50", colour: "--one", unit: " ms" },
        { label: "canary p50", colour: "--two", unit: " ms" },
        { label: "stable p99", colour: "--one", dash: [6, 5], unit: " ms" },
        { label: "canary p99", colour: "--two", dash: [2, 4], unit: " ms" },
      ],
      LOG,
    );
  }

  get hasCurve() {
    return this.#curve !== null;
  }

  /** A new rollout begins with empty charts. `curve` is of the latest rollout, or undefined. */
  show(rollout, curve) {
    const { evidence } = rollout;
    this.#thresholds = [evidence.threshold, evidence.error_threshold];
    if (this.#startedAtS !== rollout.started_at_s) {
      this.#startedAtS = rollout.started_at_s;
      this.#curve = null;
      for (const chart of [this.#evidence, this.#weight, this.#arms]) chart.clear();
    }
    const isOfIt = curve?.points.length > 1 && curve.canary_version === rollout.canary_version;
    if (!isOfIt || curve === this.#curve) return;
    this.#curve = curve;
    const { times, column } = columns(curve);
    const constant = (value) => times.map(() => value || null);
    this.#evidence.load([times, column("latency_log_e"), column("error_log_e"), ...this.#thresholds.map(constant)]);
    this.#weight.load([times, column("weight_bp").map(asPercent), setWeights(times, curve.marks)]);
    this.#armsFigure.hidden = false;
    this.#arms.load([times, ...["stable_p50_ms", "canary_p50_ms", "stable_p99_ms", "canary_p99_ms"].map(column)]);
  }

  /** The present values of a rollout that goes on. */
  add({ evidence, actual_weight_bp: actual, set_weight_bp: set }, atS) {
    const values = [evidence.latency_log_e, evidence.error_log_e, evidence.threshold, evidence.error_threshold];
    this.#evidence.add(atS, evidence.threshold ? values : [null, null, null, null]);
    this.#weight.add(atS, [asPercent(actual), asPercent(set)]);
  }
}

function asPercent(basisPoints) {
  return basisPoints === null ? null : basisPoints / 100;
}

function columns({ columns: names, points }) {
  const column = (name) => points.map((point) => point[names.indexOf(name)] ?? null);
  return { times: column("at_s"), column };
}

/** What the weight was to be at each time: that of the last change of phase before it. */
export function setWeights(times, marks) {
  return times.map((atS) => asPercent(marks.findLast((mark) => mark.at_s <= atS)?.weight_bp ?? null));
}
