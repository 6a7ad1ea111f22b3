// Scaling by hand: one version's number of replicas.

import { choices, make } from "../dom.js";
import { plural } from "../format.js";

export class ScaleForm {
  #form;
  #select = make("select", { id: "scale-version" });
  #number = make("input", { id: "scale-number", type: "number", min: "1", max: "1000", required: true, inputmode: "numeric" });
  #outcome = make("p", { class: "outcome", role: "status", "data-field": "scale.outcome" });
  #scales = [];

  /** `ask(scale, number)` asks back and scales; it answers `{isDone, text}`, or nothing if it was cancelled. */
  constructor(body, ask) {
    this.#form = make(
      "form",
      { class: "tools", "aria-label": "Scale" },
      make("label", {}, "Scale ", this.#select),
      make("label", {}, "to replicas ", this.#number),
      make("button", { type: "submit" }, "Scale"),
    );
    this.#select.addEventListener("change", () => this.#fill());
    this.#form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const answer = await ask(this.#chosen(), this.#number.valueAsNumber);
      if (!answer) return;
      this.#outcome.dataset.mood = answer.isDone ? "good" : "bad";
      this.#outcome.textContent = answer.text;
    });
    body.append(this.#form, this.#outcome);
  }

  show(scales) {
    this.#scales = scales;
    this.#form.hidden = !scales.length;
    const before = this.#select.value;
    choices(this.#select, scales.map((each) => ({ value: keyOf(each), text: `${each.endpoint} ${each.version} (${each.role}, ${each.ready} of ${each.wanted})` })));
    if (this.#select.value !== before) this.#fill();
  }

  #chosen() {
    return this.#scales.find((each) => keyOf(each) === this.#select.value);
  }

  #fill() {
    this.#number.value = String(this.#chosen()?.wanted ?? "");
  }
}

function keyOf({ endpoint, version }) {
  return `${endpoint} ${version}`;
}

export function scaleQuestion({ endpoint, version, wanted, scaling }, number) {
  const until = scaling ? " Its number follows the load: the limits of the pipeline file go on to hold." : "";
  return `Give ${version} of ${endpoint} ${plural(number, "replica")}, in place of ${wanted}?${until}`;
}
