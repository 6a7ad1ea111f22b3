// The registry: every version, and two of them compared.

import { comparison } from "../compare.js";
import { badge, make, note, Part, row, table } from "../dom.js";
import { bytes, count, dateTime, figure } from "../format.js";

const MOODS = { Production: "good", Staging: "busy", Passed: "good", Pending: "warn", Failed: "bad", Archived: "calm" };
const SHOWN_METRICS = 4;

export class ModelsPanel {
  #words = make("input", { type: "search", id: "models-filter", autocomplete: "off", spellcheck: "false" });
  #rows = new Part(make("div", { "data-part": "versions-of-registry" }));
  #pair = new Part(make("div", { "data-part": "comparison", "aria-live": "polite" }));
  #chosen = []; // keys of at most two versions, in the order in which they were chosen
  #registry = null;
  #sources = [];

  constructor(body) {
    this.#words.addEventListener("input", () => this.#render());
    const label = make("label", {}, "Show only ", this.#words);
    body.append(make("div", { class: "tools" }, label), this.#rows.element, this.#pair.element);
    this.#rows.element.addEventListener("change", ({ target }) => this.#choose(target));
  }

  show({ registry, sources }) {
    this.#registry = registry;
    this.#sources = sources;
    this.#render();
  }

  #choose({ dataset, checked }) {
    this.#chosen = this.#chosen.filter((key) => key !== dataset.version);
    if (checked) this.#chosen.push(dataset.version);
    while (this.#chosen.length > 2) this.#chosen.shift();
    this.#render();
  }

  #render() {
    const words = this.#words.value.trim().toLowerCase();
    const versions = this.#registry.versions ?? [];
    const shown = versions.filter((each) => isLike(each, words));
    this.#rows.show([this.#registry, words, this.#chosen, this.#sources], () => this.#list(shown, words));
    const pair = this.#chosen.map((key) => versions.find((each) => keyOf(each) === key)).filter(Boolean);
    this.#pair.show(pair, () => (pair.length === 2 ? compared(...pair) : hint(versions, pair)));
  }

  #list(shown, words) {
    const away = note(this.#sources, "registry");
    if (this.#registry.versions === null) return away;
    if (!this.#registry.versions.length) return [...away, make("p", { class: "quiet" }, "No versions yet: a run that passes its gates registers one.")];
    if (!shown.length) return [...away, make("p", { class: "quiet" }, `No version has “${words}” in its name, stage or framework.`)];
    const left = this.#registry.left_out;
    const rest = left ? [make("p", { class: "quiet" }, `${count(left)} older ones: `, make("code", {}, "divisions models list"))] : [];
    return [...away, table("Versions in the registry", HEADER, shown.map((each) => this.#row(each))), ...rest];
  }

  #row(each) {
    const key = keyOf(each);
    const box = make("input", {
      type: "checkbox", "data-version": key, "data-key": `compare ${key}`, "aria-label": `Compare ${nameOf(each)}`,
      checked: this.#chosen.includes(key),
    });
    const why = each.message ? make("span", { class: "quiet note" }, each.message) : null;
    return row(
      [
        nameOf(each),
        make("td", {}, badge(MOODS[each.stage] ?? "calm", each.stage), why),
        box,
        each.framework || "unknown",
        each.size_bytes ? bytes(each.size_bytes) : "unknown",
        make("td", { class: "wide" }, metrics(each.metrics)),
        dateTime(each.created_at_s),
      ],
      { "data-registered": nameOf(each) },
    );
  }
}

const HEADER = ["Version", "Stage", "Compare", "Framework", "Size", "Metrics", "Registered (UTC)"];

function keyOf({ model, version, registry_version: number }) {
  return `${model} ${version} ${number}`;
}

function nameOf({ model, version }) {
  return `${model} ${version}`;
}

function isLike({ model, version, stage, framework }, words) {
  return `${model} ${version} ${stage} ${framework}`.toLowerCase().includes(words);
}

function metrics(values) {
  const names = Object.keys(values); // those that people ask for come first
  const told = names.slice(0, SHOWN_METRICS).map((name) => `${name} ${figure(values[name])}`);
  return told.join(" | ") + (names.length > SHOWN_METRICS ? " | …" : "") || "none";
}

function hint(versions, pair) {
  if (versions.length < 2) return [];
  return [make("p", { class: "quiet" }, pair.length ? "Choose one more to compare it with." : "Choose two to compare them.")];
}

function compared(first, second) {
  const rows = comparison(first, second).map(({ name, first: one, second: other, change, isSame }) =>
    row([name, value(name, one), value(name, other), change === null ? (isSame ? "" : "differs") : change > 0 ? `+${figure(change)}` : figure(change)], {
      "data-differs": !isSame,
      "data-compared": name,
    }),
  );
  const title = `${nameOf(first)} and ${nameOf(second)}`;
  return [make("h3", {}, title), table(`Comparison of ${title}`, ["What", nameOf(first), nameOf(second), "Change"], rows)];
}

function value(name, of) {
  if (of === null) return "none";
  return make("td", { class: "wide" }, name === "Registered" ? dateTime(of) : name === "Run" ? of.slice(0, 12) : figure(of));
}
