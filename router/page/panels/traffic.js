// Latency quantiles, requests and failures: of every version now, and of all of them in the last minutes.

import { Chart, LOG } from "../charts.js";
import { make, row, Part, table } from "../dom.js";
import { count, milliseconds, partOf, percent, rate } from "../format.js";

export class TrafficPanel {
  #rows;
  #none = make("p", { class: "quiet" }, "No requests in the last 15 minutes.");
  #pair;
  #latency;
  #requests;

  constructor(body) {
    const latency = make("div", { class: "chart" });
    const requests = make("div", { class: "chart" });
    this.#rows = new Part(make("div", { "data-part": "traffic" }));
    this.#pair = make(
      "div",
      { class: "grid" },
      make("figure", {}, make("figcaption", {}, "Latency at the gateway, ms, each line ten times the one below (UTC)"), latency),
      make("figure", {}, make("figcaption", {}, "Requests and failures per second (UTC)"), requests),
    );
    body.append(this.#rows.element, this.#none, this.#pair);
    const fromZero = (low, high) => [0, Math.max(1e-6, (high ?? 1) * 1.1)];
    this.#latency = new Chart(latency, [
      { label: "p50", colour: "--one", unit: " ms" },
      { label: "mean", colour: "--three", dash: [2, 3], unit: " ms" },
      { label: "p99", colour: "--two", dash: [7, 4], unit: " ms" },
    ], LOG);
    this.#requests = new Chart(requests, [
      { label: "requests", colour: "--one", unit: "/s" },
      { label: "failed", colour: "--two", dash: [7, 4], unit: "/s" },
    ], fromZero);
  }

  show({ live, history, curves }) {
    this.#rows.show([live.versions, live.window_s], () => versions(live));
    const of = (name) => history.columns.indexOf(name);
    const hasPoints = history.points.some((point) => point[of("requests_per_s")] > 0);
    this.#none.hidden = hasPoints;
    this.#pair.hidden = !hasPoints;
    const columns = (...names) => ["at_s", ...names].map((name) => history.points.map((point) => point[of(name)] ?? null));
    this.#latency.load(columns("p50_ms", "mean_ms", "p99_ms"), changes(curves ?? []));
    this.#requests.load(columns("requests_per_s", "errors_per_s"), changes(curves ?? []));
  }
}

/** When the weight of a version changed, from each endpoint's latest rollout; the rollout's history says the same in words. */
export function changes(curves) {
  return curves.flatMap(({ endpoint, canary_version: version, marks }) =>
    marks.flatMap(({ at_s: atS, phase, weight_bp: weight }, index) => {
      if (weight === (marks[index - 1]?.weight_bp ?? 0)) return [];
      const name = curves.length > 1 ? `${endpoint} ${version}` : version;
      return [{ atS, text: phase === "ROLLING_BACK" ? `${name} rolled back` : `${name} ${percent(weight)}` }];
    }),
  );
}

const HEADER = ["Endpoint", "Version", "Role", "Weight", "Requests/s", "Failed", "p50", "p90", "p99"];

function versions(live) {
  if (!live.versions.length) return [];
  return [table(`Traffic by version, last ${live.window_s} s`, HEADER, live.versions.map(line))];
}

function line(each) {
  const quantile = (value) => (value === null ? (each.errors ? "failed" : "none") : milliseconds(value));
  const failed = each.requests ? `${partOf(each.errors / each.requests)} (${count(each.errors)})` : "none";
  return row(
    [
      each.endpoint, each.version, each.role, each.weight_bp === null ? "unknown" : percent(each.weight_bp),
      rate(each.requests_per_s), failed, quantile(each.p50_ms), quantile(each.p90_ms), quantile(each.p99_ms),
    ],
    { "data-traffic": `${each.endpoint} ${each.version}` },
  );
}
