// The page: one stream of the cluster's documents, shown. Every number comes from it, or from the gateway's open index.

import { attention } from "./attention.js";
import { NAMES, question, scale, send } from "./commands.js";
import { badge, link, make, Part, setText } from "./dom.js";
import { StatusStream } from "./events.js";
import { age, clockTime, percent } from "./format.js";
import { House } from "./house.js";
import { ScaleForm, scaleQuestion } from "./panels/pods.js";
import { replicaTable, scaleTable, tickAges } from "./replicas.js";
import { EndpointCard, order } from "./rollout.js";

const TOKEN_KEY = "divisions.token";
const INDEX_MS = 5000;
const MARKS = { none: "○", connecting: "◌", live: "●", away: "▲", reconnecting: "◌", refused: "✖" };
const MANY_ENDPOINTS = 4; // with more, those at rest fold to a line

const by = (id) => document.getElementById(id);
const cards = new Map();
const replicasPart = new Part(by("replica-table"));
const scalesPart = new Part(by("scale-table"));
const nowPart = new Part(by("now-list"));
const linksPart = new Part(by("links"));
const house = new House(by, readDrift);
const scaleForm = new ScaleForm(by("scale-form"), askScale);
let token = takeToken();
let stream = null;
let latest = null; // the last status, and when it came
let houseCameMs = 0;
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
  document.body.dataset.stale = String(hasData() && state !== "live");
  showNow();
}

function hasData() {
  return latest !== null || Object.keys(house.sections).length > 0;
}

function connect() {
  stream?.stop();
  stream = null;
  latest = null;
  house.clear();
  by("forget").hidden = !token;
  by("token-form").hidden = Boolean(token);
  if (token || index?.public?.length) {
    listen();
  } else {
    show("none", "no token: showing what is served only");
  }
  render();
}

function listen() {
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
    house(sections) {
      house.take(sections);
      if (sections.live) houseCameMs = performance.now();
      render();
    },
  });
  stream.run();
}

/** The cluster's clock now: times in the documents are of that clock, which this machine's need not agree with. */
function nowS() {
  if (latest?.document.gateway) return latest.document.gateway.now_s + (performance.now() - latest.cameMs) / 1000;
  const { live } = house.sections;
  return live ? live.at_s + (performance.now() - houseCameMs) / 1000 : Date.now() / 1000;
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
  if (!token && !stream && index?.public?.length) connect();
  else render();
}

async function readDrift(endpoint) {
  const headers = token ? { authorization: `Bearer ${token}` } : {};
  try {
    const response = await fetch(`api/v2/drift/${encodeURIComponent(endpoint)}`, { headers, cache: "no-store" });
    return response.ok ? await response.json() : null;
  } catch {
    return null; // the panel says that it has none; the connection says why
  }
}

function render() {
  showEndpoints();
  house.show();
  const { document: status } = latest ?? {};
  const fault = status?.journal_fault;
  by("journal").hidden = !fault;
  setText(by("journal"), fault ? `${fault}. No weight can rise until it can be written again.` : "");
  showPods(status);
  const about = house.sections.about;
  linksPart.show(about?.links ?? [], () => (about?.links ?? []).map(({ name, url }) => link(url, name)));
  by("panel-links").hidden = !hasData();
  for (const each of by("panel-links").children) each.hidden = by(each.hash.slice(1)).hidden;
  if (status?.gateway) {
    const { gateway } = status;
    setText(by("gateway"), `gateway ${gateway.id}, table ${gateway.epoch}, version ${gateway.version}`);
  } else {
    setText(by("gateway"), index ? `version ${index.divisions}` : "");
  }
  showNow();
  tick();
}

function showEndpoints() {
  const rollouts = new Map((latest?.document.rollouts ?? []).map((rollout) => [rollout.endpoint, rollout]));
  const names = order([...new Set([...Object.keys(index?.endpoints ?? {}), ...rollouts.keys()])], rollouts);
  for (const [name, card] of cards) {
    if (!names.includes(name)) {
      card.element.remove();
      cards.delete(name);
    }
  }
  names.forEach((name) => {
    if (!cards.has(name)) cards.set(name, new EndpointCard(name, ask));
    const card = cards.get(name);
    const rollout = rollouts.get(name);
    card.showServing(rollout ? null : index?.endpoints[name]);
    if (rollout) card.showRollout(rollout, nowS(), house.curve(name));
    else card.hideRollout();
    card.fold(names.length > MANY_ENDPOINTS, rollout);
    const isOver = rollout && ["PROMOTED", "ROLLED_BACK"].includes(rollout.phase);
    card.showNone([!rollout, Boolean(latest), isOver, rollout?.model], () => howToStart(rollout, isOver));
  });
  arrange(names.map((name) => cards.get(name).element));
  nothing.show([names.length, index === null, indexError], () => whenEmpty(names.length));
  const [first] = names.map((name) => rollouts.get(name)).filter(Boolean);
  document.title = first ? `${first.phase} ${percent(first.actual_weight_bp)} · ${first.endpoint} · Divisions` : "Divisions";
}

/** Puts the cards in their order. An element that moves loses the focus, so only those out of place move. */
function arrange(elements) {
  const focused = document.activeElement;
  elements.forEach((element, position) => {
    const present = by("endpoints").children[position];
    if (present !== element) by("endpoints").insertBefore(element, present ?? null);
  });
  if (focused !== document.activeElement && elements.some((element) => element.contains(focused))) focused.focus({ preventScroll: true });
}

function showPods(status) {
  const replicas = shownReplicas();
  by("replicas").hidden = !status && !house.sections.pods;
  const scales = status?.scales ?? []; // an older controller tells none
  const isDeployed = Boolean((status ?? house.sections.rollouts)?.rollouts?.length);
  replicasPart.show([isDeployed, replicas.map((replica) => ({ ...replica, age_s: 0 }))], () => replicaTable(replicas, isDeployed));
  scalesPart.show(scales, () => scaleTable(scales));
  by("scale-form").hidden = !token;
  scaleForm.show(scales);
}

function shownReplicas() {
  return latest?.document.replicas ?? house.sections.pods?.replicas.map(asReplica) ?? [];
}

/** A pod of the house, which anybody may be allowed to see, as a replica of the status. */
function asReplica(pod) {
  return { ...pod, ready: pod.is_ready, age_s: pod.since_s === null ? 0 : nowS() - pod.since_s };
}

/** The sentence at the top: what needs a person, or how old is what is shown. */
function showNow() {
  by("now").hidden = latest === null;
  if (latest === null) return;
  const found = attention(latest.document, house.sections, nowS());
  const { state } = by("connection").dataset;
  const isOld = !["live", "connecting"].includes(state);
  const seen = `What you see is of ${clockTime(nowS() - (performance.now() - latest.cameMs) / 1000)} UTC`;
  by("now").dataset.mood = isOld ? "warn" : found.mood;
  setText(by("now-text"), isOld ? `${state === "away" ? "The controller is away" : "No connection"}. ${seen}` : found.title);
  const items = found.items.map((item) => ({ ...item, isThere: item.panel !== "" && !by(item.panel).hidden }));
  nowPart.show(items, () => items.map(line));
}

function line({ mood, text, panel, isThere }, number) {
  const target = isThere ? make("a", { href: `#${panel}`, "data-key": `now ${number}`, "aria-label": `Show: ${text}` }, "Show") : null;
  return make("li", {}, badge(mood, text), " ", target);
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
  if (!hasData()) return;
  const atS = nowS();
  for (const card of cards.values()) card.tick(atS);
  for (const element of document.querySelectorAll("[data-since]")) setText(element, age(atS - Number(element.dataset.since)));
  for (const element of document.querySelectorAll("[data-until]")) setText(element, age(Number(element.dataset.until) - atS));
  const sinceS = latest ? (performance.now() - latest.cameMs) / 1000 : 0;
  tickAges(by("replica-table"), shownReplicas().map((replica) => replica.age_s + sinceS));
}

/** Asks back; tells whether the answer was yes. */
async function confirm(title, text, yes) {
  const dialog = by("confirm");
  setText(by("confirm-title"), title);
  setText(by("confirm-text"), text);
  setText(by("confirm-yes"), yes);
  dialog.returnValue = "cancel";
  dialog.showModal();
  by("confirm-no").focus();
  await new Promise((resolve) => dialog.addEventListener("close", resolve, { once: true }));
  return dialog.returnValue === "yes";
}

/** Asks back, and sends the command for the generation that was seen when the question was asked. */
async function ask(command, rollout, card) {
  if (!(await confirm(`${NAMES[command]} ${rollout.endpoint}`, question(command, rollout), NAMES[command]))) return;
  card.outcome.dataset.mood = "calm";
  setText(card.outcome, `${NAMES[command]}: asked for.`);
  const { isDone, text } = await send(command, rollout, token);
  card.outcome.dataset.mood = isDone ? "good" : "bad";
  setText(card.outcome, text);
}

async function askScale(wanted, replicas) {
  if (!(await confirm(`Scale ${wanted.endpoint} ${wanted.version}`, scaleQuestion(wanted, replicas), "Scale"))) return null;
  return scale(wanted, replicas, token);
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
  if (!new URLSearchParams(location.hash.slice(1)).has("token")) return; // a link to a panel
  token = takeToken();
  connect();
});
// A page that a browser keeps for the way back would keep its stream, and with six of them no page gets through.
addEventListener("pagehide", () => stream?.stop());
addEventListener("pageshow", (event) => event.persisted && connect());
addEventListener("online", () => stream?.hurry());
document.addEventListener("visibilitychange", () => document.hidden || stream?.hurry());

setInterval(tick, 1000);
setInterval(() => document.hidden || refreshIndex(), INDEX_MS);
refreshIndex();
connect();
