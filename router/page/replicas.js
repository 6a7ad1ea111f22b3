// The table of replicas, as `divisions status` shows it.

import { make, row, table } from "./dom.js";
import { age, count, percent } from "./format.js";

const HEADER = ["Name", "Ready", "Status", "Restarts", "Age", "IP", "Node", "GPU", "Engine", "Role"];
const NODE_CHARACTERS = 12; // Ray's are 56 of hex; this many tell nodes apart

/** The whole table. Ages are filled in by `tickAges`. A controller that has just begun knows endpoints before replicas. */
export function replicaTable(replicas, isDeployed) {
  if (!replicas.length) return [make("p", { class: "quiet" }, isDeployed ? "No replicas are known yet." : "No replicas: nothing is deployed.")];
  return [table("Replicas", HEADER, replicas.map(replicaRow), { class: "replicas" }), ...engineNotes(replicas)];
}

/** Why engines are not the best, once for all replicas that say the same. */
function engineNotes(replicas) {
  const told = replicas.filter((each) => each.engine_note).map((each) => `${each.engine}: better ones passed over: ${each.engine_note}`);
  return [...new Set(told)].map((note) => make("p", { class: "quiet" }, note));
}

/** Versions whose number of replicas follows the load, or for which the cluster lacks room; nothing without any. */
export function scaleTable(scales) {
  const told = scales.filter((scale) => scale.scaling || scale.lacks || scale.note);
  if (!told.length) return [];
  return [table("Number of replicas", ["Version", "Replicas", "Limits", "In use", "Why"], told.map(scaleRow), { class: "replicas" })];
}

function scaleRow(scale) {
  const limits = scale.scaling ? `${count(scale.scaling.min)} to ${count(scale.scaling.max)}` : "none";
  const used = scale.utilization === null ? "unknown" : percent(Math.round(scale.utilization * 100) * 100);
  return row([scale.app_name, `${count(scale.ready)} of ${count(scale.wanted)}`, limits, used, scale.lacks || scale.note || "as asked for"], {
    "data-scale": scale.app_name,
  });
}

/** `agesS` are the ages now, in the table's order. */
export function tickAges(element, agesS) {
  element.querySelectorAll("[data-age]").forEach((cell, index) => {
    const text = age(agesS[index] ?? 0);
    if (cell.textContent !== text) cell.textContent = text;
  });
}

function replicaRow(replica) {
  const reason = replica.reason ? make("span", { class: "quiet note" }, replica.reason) : null;
  const weight = replica.weight_bp ? `, ${percent(replica.weight_bp)}` : "";
  return row(
    [
      replica.name,
      replica.ready ? "✔ 1/1" : "◌ 0/1",
      make("td", {}, replica.status, reason),
      count(replica.restarts),
      make("td", { "data-age": true }),
      replica.ip || "none",
      make("td", { title: replica.node }, replica.node.slice(0, NODE_CHARACTERS) || "none"),
      replica.gpu || "none",
      replica.engine || "unknown",
      `${replica.role}${weight}`,
    ],
    { "data-replica": replica.name },
  );
}
