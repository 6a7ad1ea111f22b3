// The page: one stream of the cluster's status, shown. Every number comes from it, or from the gateway's open index.

import { NAMES, question, send } from "./commands.js";
import { Part, make, setText } from "./dom.js";
import { StatusStream } from "./events.js";
import { percent } from "./format.js";
import { replicaTable, scaleTable, tickAges } from "./replicas.js";
import { EndpointCard } from "./rollout.js";

const TOKEN_KEY = "divisions.token";
const INDEX_MS = 5000;
const MARKS = { none: "○", connecting: "◌", live: "●", away: "▲", reconnecting: "◌", refused: "✖" };

const by = (id) => document.getElementById(id);
const cards = new Map();
const replicasPart = new Part(by("replica-table"));
const scalesPart = new Part(by("scale-table"));
let token = takeToken();
let stream = null;
let latest = null; // the last status, and when it came
let index = null; // the gateway's open index
let indexError = "";

/** From the address's fragment, which no server ever sees and which is removed at once; or from this tab's storage. */
function takeToken() {
  const fragment = new URLSearchParams(location.hash.slice(1)).get("token");
  if (fragment !== null) {
    history.replaceState(null, "", location.pathname + location.search);
    sessionStorage.setItem(TOKEN_KEY, fragment);
  }
  return sessionStorage.getItem(TOKEN_KEY) ?? "";
}

function show(state, text) {
  const element = by("connection");
  if (element.dataset.state === state && by("connection-text").textContent === text) return;
  element.dataset.state = state;
  setText(element.querySelector(".mark"), MARKS[state]);
  setText(by("connection-text"), text);
  document.body.dataset.stale = String(latest !== null && state !== "live");
}

function connect() {
  stream?.stop();
  latest = null;
  by("forget").hidden = !token;
  by("token-form").hidden = Boolean(token);
  if (!token) {
    show("none", "no token: showing what is served only");
    render();
    return;
  }
  stream = new StatusStream("api/v2/events", token, {
    state(state, text) {
      show(state, text);
      if (state !== "refused") return;
      by("token-form").hidden = false;
      by("token").focus();
    },
    status(document) {
      const isNewTable = latest?.document.epoch !== document.epoch;
      latest = { document, cameMs: performance.now() };
      render();
      if (isNewTable) refreshIndex();
    },
  });
  stream.run();
}

/** The cluster's clock now: times in the status are of that clock, which this machine's need not agree with. */
function nowS() {
  return latest.document.gateway.now_s + (performance.now() - latest.cameMs) / 1000;
}

async function refreshIndex() {
  try {
    const response = await fetch("./", { headers: { accept: "application/json" }, cache: "no-store" });
    if (!response.ok) throw new Error(`the gateway answered ${response.status}`);
    index = await response.json();
    indexError = "";
  } catch (error) {
    indexError = error instanceof TypeError ? "no connection to the gateway" : error.message;
  }
  render();
}

function render() {
  const rollouts = new Map((latest?.document.rollouts ?? []).map((rollout) => [rollout.endpoint, rollout]));
  const names = [...new Set([...Object.keys(index?.endpoints ?? {}), ...rollouts.keys()])].sort();
  for (const [name, card] of cards) {
    if (!names.includes(name)) {
      card.element.remove();
      cards.delete(name);
    }
  }
  names.forEach((name) => {
    if (!cards.has(name)) {
      cards.set(name, new EndpointCard(name, ask));
      by("endpoints").append(cards.get(name).element);
    }
    const card = cards.get(name);
    const rollout = rollouts.get(name);
    card.showServing(rollout ? null : index?.endpoints[name]);
    if (rollout) card.showRollout(rollout, nowS());
    else card.hideRollout();
    const isOver = rollout && ["PROMOTED", "ROLLED_BACK"].includes(rollout.phase);
    card.showNone([!rollout, Boolean(latest), isOver, rollout?.model], () => howToStart(rollout, isOver));
  });
  nothing.show([names.length, index === null, indexError], () => whenEmpty(names.length));
  const fault = latest?.document.journal_fault;
  by("journal").hidden = !fault;
  setText(by("journal"), fault ? `${fault}. No weight can rise until it can be written again.` : "");
  by("replicas").hidden = latest === null;
  if (latest) {
    const { replicas, gateway } = latest.document;
    const scales = latest.document.scales ?? []; // an older controller tells none
    replicasPart.show(replicas.map((replica) => ({ ...replica, age_s: 0 })), () => replicaTable(replicas));
    scalesPart.show(scales, () => scaleTable(scales));
    setText(by("gateway"), `gateway ${gateway.id}, table ${gateway.epoch}, version ${gateway.version}`);
  } else {
    setText(by("gateway"), index ? `version ${index.divisions}` : "");
  }
  const [first] = rollouts.values();
  document.title = first ? `${first.phase} ${percent(first.actual_weight_bp)} · ${first.endpoint} · Divisions` : "Divisions";
  tick();
}

const empty = make("div", {});
by("endpoints").append(empty);
const nothing = new Part(empty);

function whenEmpty(number) {
  if (number) return [];
  if (index === null) return [make("p", { class: "panel" }, indexError || "Asking the gateway.")];
  const text = "Nothing is deployed yet. Train a model and roll it out with ";
  return [make("p", { class: "panel" }, text, make("code", {}, "divisions run .divisions/pipeline/ml_training.yaml"), ".")];
}

function howToStart(rollout, isOver) {
  if (!latest) return [make("p", { class: "quiet" }, "Its rollouts are shown to whoever has the cluster's token.")];
  if (rollout && !isOver) return [];
  const command = make("code", {}, `divisions rollout start ${rollout?.model ?? "MODEL"} --version VERSION`);
  return [make("p", { class: "quiet" }, rollout ? "Start the next rollout with " : "No rollout. Start one with ", command, ".")];
}

function tick() {
  if (!latest) return;
  for (const card of cards.values()) card.tick(nowS());
  const sinceS = (performance.now() - latest.cameMs) / 1000;
  tickAges(by("replica-table"), latest.document.replicas.map((replica) => replica.age_s + sinceS));
}

/** Asks back, and sends the command for the generation that was seen when the question was asked. */
async function ask(command, rollout, card) {
  const dialog = by("confirm");
  setText(by("confirm-title"), `${NAMES[command]} ${rollout.endpoint}`);
  setText(by("confirm-text"), question(command, rollout));
  setText(by("confirm-yes"), NAMES[command]);
  dialog.returnValue = "cancel";
  dialog.showModal();
  by("confirm-no").focus();
  await new Promise((resolve) => dialog.addEventListener("close", resolve, { once: true }));
  if (dialog.returnValue !== "yes") return;
  card.outcome.dataset.mood = "calm";
  setText(card.outcome, `${NAMES[command]}: asked for.`);
  const { isDone, text } = await send(command, rollout, token);
  card.outcome.dataset.mood = isDone ? "good" : "bad";
  setText(card.outcome, text);
}

by("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  token = by("token").value.trim();
  by("token").value = "";
  sessionStorage.setItem(TOKEN_KEY, token);
  connect();
});
by("forget").addEventListener("click", () => {
  token = "";
  sessionStorage.removeItem(TOKEN_KEY);
  connect();
});
addEventListener("hashchange", () => {
  token = takeToken();
  connect();
});
addEventListener("online", () => stream?.hurry());
document.addEventListener("visibilitychange", () => document.hidden || stream?.hurry());

setInterval(tick, 1000);
setInterval(() => document.hidden || refreshIndex(), INDEX_MS);
refreshIndex();
connect();
