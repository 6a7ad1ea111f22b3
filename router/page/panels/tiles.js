// Live system metrics: the numbers of the house, each with its word and its trend.

import { make } from "../dom.js";
import { count, partOf, plural, rate, spell } from "../format.js";
import { sparkline } from "../pictures.js";

const SHOWN_POINTS = 120; // ten minutes of the history

export function tiles({ live, history }) {
  const column = (name) => lately(history, name);
  const models = live.models === null ? "unknown" : count(live.models);
  return [
    make(
      "dl",
      { class: "tiles" },
      tile("Active pipelines", "active_pipelines", spell(live.active_pipelines), pipelines(live)),
      tile("Models in registry", "models", models, pending(live)),
      tile("Avg. inference latency", "latency", latency(live.latency_ms), trend(live), column("mean_ms")),
      tile("Data drift alerts", "drift_alerts", spell(live.drift_alerts), drift(live)),
      tile("Requests", "requests_per_s", live.requests_per_s === null ? "unknown" : `${rate(live.requests_per_s)}/s`, lastMinute(live), column("requests_per_s")),
      tile("Failed", "failed", failed(live), failures(live), column("errors_per_s")),
    ),
  ];
}

/** One column of the history, oldest first; empty without one. */
export function lately(history, name, most = SHOWN_POINTS) {
  const index = history?.columns?.indexOf(name) ?? -1;
  return index < 0 ? [] : history.points.slice(-most).map((point) => point[index]);
}

function tile(name, field, value, note, values = []) {
  const hasLine = values.filter(Number.isFinite).length > 1;
  return make(
    "div",
    { "data-tile": field },
    make("dt", {}, name),
    make("dd", {}, make("span", { class: "value", "data-field": `live.${field}` }, value), make("span", { class: "quiet note" }, note)),
    hasLine ? make("dd", { "aria-hidden": "true" }, sparkline(values)) : null,
  );
}

function latency(value) {
  if (value === null) return "unknown";
  return `${value < 100 ? Number(value.toPrecision(3)) : Math.round(value)} ms`;
}

export function trend({ latency_ms: now, latency_trend: part }) {
  if (now === null) return "no requests of late";
  if (part === null) return "too early for a trend";
  const size = Math.abs(100 * part);
  if (size < 1) return "→ as 5 minutes before";
  return `${part < 0 ? "↓" : "↑"} ${size.toFixed(0)} % ${part < 0 ? "faster" : "slower"} than 5 minutes before`;
}

function pipelines({ running_pipelines: running, late_pipelines: late, paused_pipelines: paused, scheduled_pipelines: scheduled }) {
  const parts = [];
  if (running) parts.push(`◐ ${running} running`);
  if (late) parts.push(`▲ ${late} overdue`);
  if (paused) parts.push(paused === scheduled ? (paused === 1 ? "paused" : `all ${count(paused)} paused`) : `${count(paused)} of ${count(scheduled)} paused`);
  return parts.length ? parts.join(", ") : scheduled === null ? "" : `${count(scheduled)} with a schedule`;
}

function pending({ pending_versions: waiting, versions_total: versions }) {
  if (versions === null) return "the registry does not answer";
  return `${plural(versions, "version")}, ${waiting ? `● ${count(waiting)} pending validation` : "none pending"}`;
}

function drift({ drift_alerts: alerts, drift_unknown: unknown }) {
  if (alerts === null) return "";
  if (alerts) return "▲ see Drift";
  return unknown ? `${plural(unknown, "endpoint")} not known yet` : "● Stable";
}

function lastMinute({ requests, window_s: windowS }) {
  return requests === null ? "" : `${count(requests)} in ${windowS} s`;
}

function failed({ requests, errors }) {
  if (requests === null || errors === null) return "unknown";
  return requests ? partOf(errors / requests) : "none";
}

function failures({ errors, requests }) {
  if (requests === null || errors === null) return "";
  return errors ? `✖ ${count(errors)} of ${count(requests)}` : `0 of ${count(requests)}`;
}
