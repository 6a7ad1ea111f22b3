// Experiment runs: the newest, and one of them with its gates and curves.

import { Chart } from "../charts.js";
import { badge, choices, definitions, make, note, Part, row, table } from "../dom.js";
import { age, count, dateTime, figure } from "../format.js";

const MOODS = { FINISHED: "good", RUNNING: "busy", FAILED: "bad", KILLED: "bad" };
const COLOURS = ["--one", "--two", "--three"];
const DASHES = [undefined, [7, 4], [2, 3]];

export class RunsPanel {
  #rows = new Part(make("div", { "data-part": "runs" }));
  #select = make("select", { id: "runs-chosen" });
  #tools;
  #one = new Part(make("div", { "data-part": "run" }));
  #curves = new Part(make("div", { "data-part": "curves", class: "grid charts" }));
  #runs = null;
  #sources = [];
  #isNewest = true;

  constructor(body) {
    this.#select.addEventListener("change", () => {
      this.#isNewest = this.#select.selectedIndex === 0;
      this.#render();
    });
    this.#tools = make("div", { class: "tools" }, make("label", {}, "Details of ", this.#select));
    body.append(this.#rows.element, this.#tools, this.#one.element, this.#curves.element);
  }

  show({ runs, sources }) {
    this.#runs = runs;
    this.#sources = sources;
    this.#render();
  }

  /** Whoever looks at the newest wants to see the next one, too. */
  #render() {
    const { left_out: left } = this.#runs;
    const runs = this.#runs.runs ?? [];
    const build = () => [...note(this.#sources, "runs"), ...(this.#runs.runs === null ? [] : list(runs, left))];
    this.#rows.show([this.#runs, this.#sources], build);
    this.#tools.hidden = !runs.length;
    choices(this.#select, runs.map((run) => ({ value: run.run_id, text: `${run.name || run.pipeline}, ${dateTime(run.started_at_s)}` })));
    if (this.#isNewest && runs.length) this.#select.value = runs[0].run_id;
    const run = runs.find((each) => each.run_id === this.#select.value);
    this.#one.show(run ?? null, () => (run ? details(run) : []));
    this.#curves.show(run?.curves ?? null, () => (run ? curves(run) : []));
  }
}

function list(runs, left) {
  if (!runs.length) return [make("p", { class: "quiet" }, "No runs yet. Start one with ", make("code", {}, "divisions run PIPELINE"), ".")];
  const rows = runs.map((run) =>
    row(
      [
        run.run_id.slice(0, 8),
        make("td", { class: "wide" }, run.pipeline || run.name),
        badge(MOODS[run.status] ?? "calm", run.status.toLowerCase()),
        dateTime(run.started_at_s),
        run.ended_at_s ? age(run.ended_at_s - run.started_at_s) : make("td", { "data-since": run.started_at_s }),
        figure(run.metrics.auc),
        gates(run.gates),
        run.versions.map(({ version, stage }) => `${version} ${stage}`).join(", ") || "none",
      ],
      { "data-run": run.run_id },
    ),
  );
  const header = ["Run", "Pipeline", "Status", "Started (UTC)", "Took", "AUC", "Gates", "Version"];
  const rest = left ? [make("p", { class: "quiet" }, `${count(left)} older ones: `, make("code", {}, "divisions runs list"))] : [];
  return [table("Experiment runs", header, rows), ...rest];
}

function gates(list) {
  if (!list.length) return "none";
  return list.map(({ is_met: isMet }) => (isMet === null ? "○" : isMet ? "✔" : "✖")).join(" ");
}

function details(run) {
  const facts = [
    ["Optimizer", "run.optimizer", run.optimizer],
    ["LR schedule", "run.lr_schedule", run.lr_schedule],
    ["Epochs", "run.epochs", run.epochs ? count(run.epochs) : ""],
    ["Dataset", "run.dataset", run.dataset],
    ["GPU use", "run.gpu_util", run.gpu_util === null ? "" : `${figure(run.gpu_util)} %`],
    ["Metrics", "run.metrics", Object.entries(run.metrics).map(([name, value]) => `${name} ${figure(value)}`).join(", ")],
  ].filter(([, , value]) => value !== "" && value !== null);
  const lines = run.gates.map(({ metric, operator, threshold, value, is_met: isMet }) =>
    make("li", { "data-gate": metric }, badge(isMet === null ? "calm" : isMet ? "good" : "bad", `${metric}: ${figure(value)}`), ` (threshold: ${operator} ${figure(threshold)})`),
  );
  const promoted = run.versions.map(({ model, version, stage }) => make("li", {}, `➜ In the registry as ${model} ${version}: ${stage}`));
  const error = run.error ? [make("p", {}, badge("bad", run.error))] : [];
  return [...error, definitions(facts), make("ul", { class: "now-list" }, lines, promoted)];
}

/** Losses and other metrics have scales of their own, so each kind gets a chart; one has three lines at most. */
export function grouped(curves) {
  const names = Object.keys(curves).filter((name) => curves[name].length > 1).sort();
  const losses = names.filter((name) => name.includes("loss"));
  const rates = names.filter((name) => /(^|_)lr$|learning_rate/.test(name));
  const others = names.filter((name) => !losses.includes(name) && !rates.includes(name));
  return [losses, others].map((group) => group.slice(0, 3)).filter((group) => group.length);
}

function curves(run) {
  if (!run.curves) return [make("p", { class: "quiet" }, "Curves are kept for the newest runs; MLflow has those of all.")];
  const groups = grouped(run.curves);
  if (!groups.length) return [make("p", { class: "quiet" }, "This run has no curves: it has no epochs, or the first is not over.")];
  return groups.map((names) => {
    const element = make("div", { class: "chart" });
    const chart = new Chart(element, names.map((label, index) => ({ label, colour: COLOURS[index], dash: DASHES[index] })), around, "epoch");
    chart.load(joined(names.map((name) => run.curves[name])));
    return make("figure", {}, make("figcaption", {}, `${names.join(", ")} by epoch`), element);
  });
}

function around(low, high) {
  const margin = ((high ?? 1) - (low ?? 0)) * 0.08 || 0.05;
  return [(low ?? 0) - margin, (high ?? 1) + margin];
}

/** Curves over the union of their epochs: `[epochs, values of the first, …]`, null where one has no value. */
export function joined(curves) {
  const epochs = [...new Set(curves.flatMap((curve) => curve.map(([epoch]) => epoch)))].sort((one, other) => one - other);
  return [epochs, ...curves.map((curve) => {
    const known = new Map(curve);
    return epochs.map((epoch) => known.get(epoch) ?? null);
  })];
}
