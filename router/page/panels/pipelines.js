// Pipeline files, and when each runs next.

import { badge, choices, definitions, make, note, Part } from "../dom.js";
import { age, count, dateTime } from "../format.js";

const OUTCOMES = { succeeded: "good", failed: "bad", lost: "bad", skipped: "warn" };

export class PipelinesPanel {
  #select = make("select", { id: "pipelines-chosen" });
  #tools;
  #away = new Part(make("div"));
  #facts = new Part(make("div", { "data-part": "pipeline" }));
  #file = new Part(make("div", { "data-part": "pipeline-file" }));
  #section = null;
  #sources = [];

  constructor(body) {
    this.#select.addEventListener("change", () => this.#render());
    this.#tools = make("div", { class: "tools" }, make("label", {}, "Pipeline ", this.#select));
    body.append(this.#away.element, this.#tools, this.#facts.element, this.#file.element);
  }

  show({ pipelines, sources }) {
    this.#section = pipelines;
    this.#sources = sources;
    this.#render();
  }

  #render() {
    const { left_out: left } = this.#section;
    const pipelines = this.#section.pipelines ?? [];
    this.#away.show(this.#sources, () => note(this.#sources, "schedule"));
    this.#tools.hidden = pipelines.length < 2;
    choices(this.#select, pipelines.map((each) => ({ value: each.path, text: each.pipeline || each.path })));
    const one = pipelines.find((each) => each.path === this.#select.value);
    const isRead = this.#section.pipelines !== null;
    this.#facts.show([one ?? null, left, isRead], () => (one ? facts(one, left) : isRead ? empty() : []));
    this.#file.show([one?.path, one?.text], () => (one ? file(one) : []));
  }
}

function empty() {
  const command = make("code", {}, "divisions schedule add PIPELINE");
  return [make("p", { class: "quiet" }, "No pipeline file is known. One that runs by itself is added with ", command, ".")];
}

function facts(one, left) {
  const list = [
    ["Pipeline", "pipeline.name", one.pipeline || "unknown"],
    ["Next run", "pipeline.next", next(one)],
    ["Trigger", "pipeline.trigger", one.expression ? `${one.expression} (${one.zone})` : "none: it runs when it is told to"],
    ["Last run", "pipeline.last", last(one.last)],
  ];
  if (left) list.push(["More", null, `${count(left)} more pipelines: divisions schedule list`]);
  const fault = one.fault ? [make("p", {}, badge("bad", one.fault))] : [];
  return [...fault, definitions(list)];
}

function next(one) {
  if (one.is_running) return badge("busy", "running now");
  if (one.is_paused) return badge("warn", "paused");
  if (one.next_run_s === null) return "none planned";
  const late = one.lag_s > 0 ? [" ", badge("warn", `overdue by ${age(one.lag_s)}`)] : [];
  const told = [`${dateTime(one.next_run_s)} UTC, in `, make("span", { "data-until": one.next_run_s })];
  return make("span", {}, told, late);
}

function last(run) {
  if (!run) return "none yet";
  const words = run.message ? `${run.outcome}: ${run.message}` : run.outcome;
  return make("span", {}, badge(OUTCOMES[run.outcome] ?? "calm", words), ` ${dateTime(run.at_s)} UTC`);
}

function file({ path, text, pipeline }) {
  const name = make("p", { class: "quiet" }, path);
  if (text === null) return [name];
  return [name, make("pre", { class: "file", tabindex: "0", role: "region", "aria-label": `File of ${pipeline || path}`, "data-key": "file" }, text)];
}
