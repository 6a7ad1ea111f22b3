// The deployment console: the time-stamped steps of the latest deployment, or of a past one.

import { badge, choices, make, note, Part } from "../dom.js";
import { clockTime, dateTime, isoTime } from "../format.js";

const GOOD = ["promoted", "unchanged", "started"];

export class DeploysPanel {
  #select = make("select", { id: "deploys-chosen" });
  #tools;
  #one = new Part(make("div", { "data-part": "deploy" }));
  #log = make("div", { role: "log", "aria-label": "Steps of the deployment" });
  #steps = new Part(this.#log);
  #section = null;
  #sources = [];
  #isLatest = true;

  constructor(body) {
    this.#select.addEventListener("change", () => {
      this.#isLatest = this.#select.selectedIndex === 0;
      this.#render();
    });
    this.#tools = make("div", { class: "tools" }, make("label", {}, "Deployment ", this.#select));
    body.append(this.#tools, this.#one.element, this.#log);
  }

  show({ deployments, sources }) {
    this.#section = deployments;
    this.#sources = sources;
    this.#render();
  }

  /** Whoever looks at the latest wants to see the next one, too. */
  #render() {
    const deployments = this.#section.deployments ?? [];
    const isRead = this.#section.deployments !== null;
    this.#tools.hidden = !deployments.length;
    choices(this.#select, deployments.map((each) => ({ value: String(each.number), text: named(each) })));
    if (this.#isLatest && deployments.length) this.#select.value = String(deployments[0].number);
    const one = deployments.find((each) => String(each.number) === this.#select.value);
    const build = () => [...note(this.#sources, "deployments"), ...(one ? head(one) : isRead ? empty() : [])];
    this.#one.show([one ?? null, isRead, this.#sources], build);
    this.#log.hidden = !one;
    this.#steps.show(one?.steps ?? null, () => (one ? [steps(one)] : []));
  }
}

function named({ number, model, version, target, began_s: beganS }) {
  return `#${number}: ${model} ${version} to ${target}, ${dateTime(beganS)}`;
}

function empty() {
  return [make("p", { class: "quiet" }, "No deployment yet. ", make("code", {}, "divisions deploy --pipeline FILE --target TARGET"), " shows its steps here.")];
}

function head(one) {
  return [
    make("p", { "data-field": "deploy.head" }, state(one), ` ${one.model} ${one.version} for ${one.endpoint}, target ${one.target}, by ${one.who}, ${dateTime(one.began_s)} UTC`),
  ];
}

function state({ ending, is_under_way: isUnderWay, steps: list }) {
  if (isUnderWay) return badge("busy", "under way");
  if (ending) return badge(GOOD.includes(ending) ? "good" : "bad", ending);
  if (list.some((step) => step.error)) return badge("bad", "failed");
  return badge("warn", isUnderWay === null ? "not known how it goes on" : "interrupted");
}

function steps(one) {
  const items = one.steps.map((step) => {
    const [mood, sign] = step.error ? ["bad", "✖"] : step.ended_s !== null ? ["good", "✔"] : one.is_under_way ? ["busy", "…"] : ["warn", "?"];
    const took = step.ended_s === null ? "" : `${(step.ended_s - step.began_s).toFixed(1)} s`;
    const words = [step.error || step.detail].filter(Boolean);
    return make(
      "li",
      { "data-step": step.name },
      make("time", { datetime: isoTime(step.began_s) }, `[${clockTime(step.began_s)}]`),
      make("span", { "data-mood": mood, role: "img", "aria-label": { bad: "failed", good: "done", busy: "under way", warn: "not finished" }[mood] }, sign),
      make("span", { "data-mood": mood === "bad" ? "bad" : null }, [step.title, ...words].join(": ")),
      make("span", { class: "took" }, took),
    );
  });
  return make("ol", { class: "console", tabindex: "0", "aria-label": "Steps", "data-key": "console" }, items);
}
