// The card of one endpoint: what serves it, and its latest rollout with evidence, reasons and history.

import { ALLOWED, NAMES } from "./commands.js";
import { definitions, make, Part, row, setText, table } from "./dom.js";
import { age, clockTime, count, isoTime, logE, milliseconds, percent, quantileName, share } from "./format.js";
import { RolloutCharts } from "./rollout_charts.js";

const MARKS = {
  PENDING: "◌", WARMING: "◌", SHADOW: "◌", STEP: "◐", BAKE: "◕", PROMOTED: "✔", HOLD: "‖",
  ROLLING_BACK: "✖", DRAINING: "✖", ROLLED_BACK: "✖",
};
const MOODS = {
  PROMOTED: "good", HOLD: "warn", ROLLING_BACK: "bad", DRAINING: "bad", ROLLED_BACK: "bad",
};
const OVER = ["PROMOTED", "ROLLED_BACK"];
const AT_A_STEP = ["STEP", "BAKE", "HOLD"];
const URGENCY = ["HOLD", "ROLLING_BACK", "DRAINING", "PENDING", "WARMING", "SHADOW", "STEP", "BAKE", "ROLLED_BACK"];

/** Endpoints in the order in which they need somebody, then by name. */
export function order(names, rollouts) {
  const rank = (name) => {
    const found = URGENCY.indexOf(rollouts.get(name)?.phase);
    return found < 0 ? URGENCY.length : found;
  };
  return [...names].sort((one, other) => rank(one) - rank(other) || (one < other ? -1 : 1));
}

export class EndpointCard {
  #parts = {};
  #buttons = {};
  #charts = new RolloutCharts();
  #rollout = null;
  #isOpen = null; // as its reader has chosen; null while nobody has
  #watchedS = null; // when the rollout began that this page has seen running

  /** `ask(command, rollout, card)` is called when a button is pressed. */
  constructor(name, ask) {
    const part = (key, tag = "div", attributes = {}) => {
      const element = make(tag, { "data-part": key, ...attributes });
      this.#parts[key] = new Part(element);
      return element;
    };
    const titleId = `endpoint-${name}`;
    this.phase = make("p", { class: "phase", "data-field": "phase" });
    this.message = make("p", { class: "message", "data-field": "message" });
    this.outcome = make("p", { class: "outcome", role: "status", "data-field": "outcome" });
    this.announcement = make("p", { class: "unseen", "aria-live": "polite" });
    this.buttons = make("div", { class: "row buttons", role: "group", "aria-label": `Steer the rollout of ${name}` });
    for (const command of Object.keys(NAMES)) {
      const button = make("button", { type: "button", "data-command": command }, NAMES[command]);
      button.addEventListener("click", () => ask(command, this.#rollout, this));
      this.#buttons[command] = button;
      this.buttons.append(button);
    }
    this.details = make(
      "div",
      { hidden: true },
      part("why"),
      make("div", { class: "grid" }, part("facts"), part("versions")),
      part("guards"),
      part("over"),
      this.#charts.element,
      part("history"),
    );
    const bodyId = `${titleId}-body`;
    this.opener = make("button", { type: "button", class: "plain", "aria-controls": bodyId, hidden: true });
    this.opener.addEventListener("click", () => this.#open(this.body.hidden));
    this.body = make(
      "div",
      { id: bodyId },
      part("ladder"),
      this.buttons,
      this.outcome,
      part("serving"),
      part("none"),
      this.details,
    );
    this.element = make(
      "article",
      { class: "panel", "aria-labelledby": titleId, "data-endpoint": name },
      make("header", { class: "card-head" }, make("h2", { id: titleId }, name), this.phase, this.opener),
      this.announcement,
      this.message,
      this.body,
    );
    this.buttons.hidden = true;
  }

  /** Among many endpoints, one at rest is a line until its reader opens it. */
  fold(isOneOfMany, rollout) {
    const isAtRest = !rollout || rollout.phase === "PROMOTED";
    this.opener.hidden = !isOneOfMany;
    const isOpen = !isOneOfMany || (this.#isOpen ?? !isAtRest);
    if (this.body.hidden === isOpen || !this.opener.textContent) this.#unfold(isOpen);
  }

  #open(isOpen) {
    this.#isOpen = isOpen;
    this.#unfold(isOpen);
  }

  #unfold(isOpen) {
    this.body.hidden = !isOpen;
    this.opener.setAttribute("aria-expanded", String(isOpen));
    setText(this.opener, isOpen ? "Fold" : "Unfold");
    this.opener.setAttribute("aria-label", `${this.opener.textContent} ${this.element.dataset.endpoint}`);
  }

  /** What the gateway serves, which is open to everybody; a rollout tells more. */
  showServing(endpoint) {
    this.#parts.serving.show(endpoint ?? null, () => (endpoint ? serving(endpoint) : []));
  }

  /** Why there is no rollout to see: a list of nodes or text, or nothing. */
  showNone(key, build) {
    this.#parts.none.show(key, build);
  }

  showRollout(rollout, nowS, curve) {
    this.#rollout = rollout;
    const { phase } = rollout;
    this.details.hidden = this.buttons.hidden = false;
    const evidence = rollout.evidence;
    this.element.dataset.mood = MOODS[phase] ?? "calm";
    this.#announce(rollout);
    setText(this.message, isSaidBelow(rollout) ? "" : rollout.message);
    for (const [command, button] of Object.entries(this.#buttons)) button.disabled = !ALLOWED[command].includes(phase);
    const steps = [rollout.steps_bp, rollout.step_index, phase, rollout.actual_weight_bp, rollout.is_compared, rollout.history];
    this.#parts.ladder.show(steps, () => ladder(rollout));
    this.#parts.facts.show(rollout, () => facts(rollout));
    this.#parts.versions.show(rollout, () => versions(rollout));
    this.#parts.guards.show(evidence, () => guards(evidence));
    this.#parts.why.show([rollout.explanation, rollout.rollback_reason], () => why(rollout));
    this.#parts.history.show(rollout.history, () => history(rollout.history));
    this.#chart(rollout, nowS, curve);
    this.tick(nowS);
  }

  hideRollout() {
    this.#rollout = null;
    this.details.hidden = this.buttons.hidden = true;
    delete this.element.dataset.mood;
    for (const element of [this.phase, this.message, this.outcome, this.announcement]) setText(element, "");
    this.#parts.ladder.show(null, () => []);
  }

  /** Times grow by themselves. */
  tick(nowS) {
    if (!this.#rollout) return;
    const { phase, phase_since_s: sinceS } = this.#rollout;
    setText(this.phase, `${MARKS[phase] ?? "?"} ${phase}, for ${age(nowS - sinceS)}`);
    for (const element of this.element.querySelectorAll("[data-since]")) {
      setText(element, age(nowS - Number(element.dataset.since)));
    }
  }

  #announce({ endpoint, phase, actual_weight_bp: weight, explanation }) {
    const reason = explanation && phase !== "PROMOTED" ? `: ${explanation.text}` : "";
    setText(this.announcement, `${endpoint}: ${phase}, ${percent(weight)} on the canary${reason}`);
  }

  #chart(rollout, nowS, curve) {
    this.#charts.show(rollout, curve);
    const isOver = OVER.includes(rollout.phase);
    if (!isOver) this.#watchedS = rollout.started_at_s;
    const isWatched = this.#watchedS === rollout.started_at_s;
    const isShown = rollout.is_compared && (isWatched || this.#charts.hasCurve);
    this.#charts.element.hidden = !isShown;
    this.#parts.over.show([isOver, isShown, rollout.is_compared], () => over(rollout, isOver, isShown));
    if (!isOver && isShown) this.#charts.add(rollout, Math.round(nowS));
  }
}

/** Whether the message only repeats the reason, which stands under "Why". */
function isSaidBelow({ message, explanation }) {
  return explanation !== null && message.includes(explanation.text);
}

function serving(endpoint) {
  const rows = Object.entries(endpoint.versions).map(([version, { weight_bp: weight, replicas }]) =>
    row([version, percent(weight), count(replicas)], { "data-version": version }),
  );
  return [
    make("h3", {}, "Serving"),
    table("Versions that this gateway serves", ["Version", "Weight", "Replicas"], rows),
    make("p", { class: "quiet" }, "Ask it: ", make("code", {}, `POST ${endpoint.predict}`)),
  ];
}

/** How far a rollout that is over had come: the number of its last step. A promotion by hand leaves steps out. */
function lastStep({ steps_bp: steps, history: entries }) {
  const reached = entries.filter(({ phase }) => phase === "STEP" || phase === "BAKE");
  return Math.max(-1, ...reached.map((entry) => (entry.phase === "BAKE" ? steps.length - 1 : steps.indexOf(entry.weight_bp))));
}

function ladder(rollout) {
  const { steps_bp: steps, step_index: index, phase, actual_weight_bp: weight } = rollout;
  if (!rollout.is_compared) {
    const text = rollout.rollback_reason ? "Not compared." : "Not compared: all traffic at once, without steps.";
    return [make("p", { class: "quiet", "data-field": "not-compared" }, text)];
  }
  const isPromoted = phase === "PROMOTED";
  const last = OVER.includes(phase) ? lastStep(rollout) : -1;
  const isAtStep = AT_A_STEP.includes(phase);
  const items = steps.map((step, number) => {
    const isPresent = isAtStep && number === index;
    const isPassed = isPromoted ? number < last || (number === last && last === steps.length - 1) : isAtStep && number < index;
    const isByHand = isPromoted && !isPassed;
    const isLost = phase === "ROLLED_BACK" && number === last;
    const state = isPassed || (phase === "ROLLED_BACK" && number < last) ? "passed" : isPresent ? "present" : isLost ? "lost" : "ahead";
    const words = { passed: "passed", present: `here, ${percent(weight)} now`, lost: "rolled back here", ahead: isByHand ? "promoted by hand" : "not reached" };
    return make(
      "li",
      { class: state, "aria-current": isPresent ? "step" : null },
      make("span", { class: "step" }, percent(step)),
      make("span", { class: "quiet" }, words[state]),
    );
  });
  return [make("ol", { class: "ladder", "aria-label": "Steps of the rollout" }, items)];
}

function facts(rollout) {
  const { evidence } = rollout;
  const list = [
    ["Model", "model", rollout.model],
    ["Step", "step", `${Math.min(rollout.step_index + 1, rollout.steps_bp.length)} of ${rollout.steps_bp.length}`],
    ["Set weight", "set_weight_bp", percent(rollout.set_weight_bp)],
    ["Actual weight", "actual_weight_bp", percent(rollout.actual_weight_bp)],
    ["Canary requests in this step", "canary_requests", count(rollout.canary_requests)],
    ["Running for", null, make("span", { "data-since": rollout.started_at_s })],
    ["Generation, epoch", "generation", `${rollout.generation}, ${rollout.epoch}`],
  ];
  if (OVER.includes(rollout.phase)) list[5][0] = "Started, ago";
  if (rollout.unwritten) list.push(["Not on disk", "unwritten", rollout.unwritten]);
  if (rollout.gate) {
    const { approvals, approvals_needed: needed } = rollout.gate;
    const names = approvals.map((each) => each.name).join(", ") || "nobody";
    list.push(["Approved by", "approved_by", needed ? `${names}; ${count(needed)} needed` : names]);
  }
  if (Number.isFinite(evidence.min_detectable)) {
    const slower = (100 * (evidence.min_detectable - 1)).toFixed(0);
    list.push(["Detects", "min_detectable", `a median slower by ${slower} % or more, at this traffic`]);
  }
  if (evidence.is_frozen) list.push(["Weaker", null, "stable has no traffic left; compared with what it did last"]);
  return [make("h3", {}, "Rollout"), definitions(list)];
}

/** In place of the charts of a rollout whose curves are not known any more. */
function over(rollout, isOver, isCharted) {
  if (isCharted || !rollout.is_compared || !isOver) return [];
  const text = rollout.evidence.threshold ? "The table above has the last evidence of its guards." : "";
  return [make("p", { class: "quiet", "data-field": "over" }, `This rollout is over. ${text}`)];
}

function versions(rollout) {
  const { phase, evidence, actual_weight_bp: canaryBp } = rollout;
  const isOver = OVER.includes(phase);
  const ready = (have, wanted) => `${have >= wanted ? "✔" : "◌"} ${have}/${wanted} ready`;
  const rows = [];
  if (rollout.stable_version !== null) {
    const weight = isOver ? 10000 : 10000 - canaryBp;
    const replicas = ready(rollout.stable_replicas, rollout.wanted_stable_replicas);
    rows.push(
      row(
        ["stable", rollout.stable_version, percent(weight), replicas, count(evidence.stable_requests), count(evidence.stable_errors)],
        { "data-arm": "stable" },
      ),
    );
  }
  if (rollout.canary_version !== null && phase !== "PROMOTED") {
    const weight = phase === "SHADOW" ? "copies only" : percent(canaryBp);
    const replicas = isOver ? `${rollout.canary_replicas} ready` : ready(rollout.canary_replicas, rollout.wanted_canary_replicas);
    rows.push(
      row(
        ["canary", rollout.canary_version, weight, replicas, count(evidence.canary_requests), count(evidence.canary_errors)],
        { "data-arm": "canary" },
      ),
    );
  }
  const header = ["Arm", "Version", "Weight", "Replicas", "Requests judged", "Failed"];
  const note = phase === "PROMOTED" ? [make("p", { class: "quiet" }, `No canary: ${rollout.canary_version} is stable now.`)] : [];
  return [make("h3", {}, "Versions"), table("Versions of the rollout", header, rows), ...note];
}

function guards(evidence) {
  if (!evidence.threshold) return [make("h3", {}, "Guards"), make("p", { class: "quiet" }, "No evidence: nothing was compared.")];
  const rows = [
    guard("latency", evidence.latency_log_e, evidence.threshold, "rolls back"),
    guard("errors", evidence.error_log_e, evidence.error_threshold, "rolls back"),
  ];
  if (evidence.split_threshold) rows.push(guard("split", evidence.split_log_e, evidence.split_threshold, "holds"));
  const drifts = [];
  if (evidence.input_drift_feature) {
    drifts.push(["Drift of inputs, canary against stable", "input_drift", `${evidence.input_drift.toFixed(2)} (${evidence.input_drift_feature})`]);
  }
  if (evidence.prediction_drift) {
    drifts.push(["Drift of predictions, canary against stable", "prediction_drift", evidence.prediction_drift.toFixed(2)]);
  }
  if (evidence.training_drift_feature) {
    drifts.push(["Drift since training, both", "training_drift", `${evidence.training_drift.toFixed(2)} (${evidence.training_drift_feature})`]);
  }
  return [
    make("h3", {}, "Guards"),
    make("p", { class: "quiet" }, `${count(evidence.ticks)} s of traffic. A guard acts when its bar is full; below half of it a step may pass.`),
    table("Evidence of the guards", ["Guard", "Evidence", "ln E", "acts at", "and then"], rows),
    ...(drifts.length ? [definitions(drifts)] : []),
  ];
}

function guard(name, value, threshold, effect) {
  const part = Math.min(Math.max(value / threshold, 0), 1);
  const meter = make("meter", { min: 0, max: 1, high: 0.5, optimum: 0, value: Number.isFinite(part) ? part : 0 });
  meter.setAttribute("aria-label", `evidence of ${name}: ln E ${logE(value)} of ${logE(threshold)}`);
  return row([name, make("td", { class: "bar" }, meter), logE(value), logE(threshold), effect], { "data-guard": name });
}

function why({ explanation, rollback_reason: reason }) {
  if (explanation === null) return reason ? [make("h3", {}, "Why"), make("p", { "data-field": "why.text" }, reason)] : [];
  const isDrift = ["inputs", "predictions"].includes(explanation.guard);
  const list = [["Guard", "why.guard", explanation.guard]];
  if (explanation.threshold) {
    const what = isDrift ? "Drift, and where it acts" : "Evidence ln E, and where it acts";
    list.push([what, "why.log_e", `${logE(explanation.log_e)} of ${logE(explanation.threshold)}`]);
  }
  if (explanation.quantile) list.push(["Quantile", "why.quantile", quantileName(explanation.quantile)]);
  if (explanation.ratio) list.push(["Ratio that the evidence points at", "why.ratio", `× ${Number(explanation.ratio.toPrecision(3))}`]);
  if (explanation.threshold_ms !== null) list.push(["Latency exceeded", "why.threshold_ms", milliseconds(explanation.threshold_ms)]);
  if (explanation.window_s) list.push(["Window", "why.window_s", `${explanation.window_s.toFixed(0)} s`]);
  return [
    make(
      "section",
      { class: "why", "aria-label": "Why" },
      make("h3", {}, "Why"),
      make("p", { "data-field": "why.text" }, explanation.text),
      definitions(list),
      ...arms(explanation),
    ),
  ];
}

/** What the guard saw of both arms; none for guards that compare nothing. */
function arms(explanation) {
  const counted = { split: "Customers", latency: "Requests", errors: "Requests", breaker: "Requests", undecided: "Requests" };
  if (!(explanation.guard in counted)) return [];
  const header = ["Arm", counted[explanation.guard]];
  const hasExceeded = ["latency", "errors", "breaker"].includes(explanation.guard);
  if (hasExceeded) header.push(explanation.guard === "latency" ? "Over the threshold" : "Failed", "Share");
  if (explanation.quantile) header.push(quantileName(explanation.quantile));
  const rows = ["stable", "canary"].map((arm) => {
    const requests = explanation[`${arm}_requests`];
    const exceeded = explanation[`${arm}_exceeded`];
    const field = (name, text) => make("td", { "data-field": `why.${arm}_${name}` }, text);
    const cells = [arm, field("requests", count(requests))];
    if (hasExceeded) cells.push(field("exceeded", count(exceeded)), share(exceeded, requests));
    if (explanation.quantile) cells.push(field("quantile_ms", milliseconds(explanation[`${arm}_quantile_ms`])));
    return row(cells, { "data-arm": arm });
  });
  return [table("What the guard saw", header, rows)];
}

function history(entries) {
  const rows = [...entries].reverse().map((entry) =>
    row([
      make("time", { datetime: isoTime(entry.at_s), title: isoTime(entry.at_s) }, clockTime(entry.at_s)),
      entry.phase,
      percent(entry.weight_bp),
      entry.message,
    ]),
  );
  return [make("h3", {}, "History"), table("History, latest first", ["Time (UTC)", "Phase", "Weight", "What happened"], rows, { class: "history" })];
}
