// The panels of the whole house, each shown from the sections of the stream that it needs.

import { Part } from "./dom.js";
import { DeploysPanel } from "./panels/deploys.js";
import { DriftPanel } from "./panels/drift.js";
import { ModelsPanel } from "./panels/models.js";
import { PipelinesPanel } from "./panels/pipelines.js";
import { RunsPanel } from "./panels/runs.js";
import { stages } from "./panels/stages.js";
import { tiles } from "./panels/tiles.js";
import { TrafficPanel } from "./panels/traffic.js";

const NO_HISTORY = { step_s: 1, columns: [], points: [] };

export class House {
  #panels;
  #seen = new Map();
  sections = {};

  /** `by(id)` finds an element of the page; `readDrift(endpoint)` gets one endpoint's drift with all histograms. */
  constructor(by, readDrift) {
    const body = (name) => by(`${name}-body`);
    const part = (id, build) => {
      const it = new Part(by(id));
      return { show: (house) => it.show(house, () => build(house)) };
    };
    const panel = (id, needs, it, wants = []) => ({ section: by(id), needs, wants, it });
    this.#panels = [
      panel("tiles", ["live"], part("tile-list", tiles), ["history"]),
      panel("stages", ["stages"], part("stage-list", (house) => stages(house.stages))),
      panel("traffic", ["live", "history"], new TrafficPanel(body("traffic")), ["curves"]),
      panel("drift", ["drift"], new DriftPanel(body("drift"), readDrift)),
      panel("runs", ["runs"], new RunsPanel(body("runs")), ["sources"]),
      panel("models", ["registry"], new ModelsPanel(body("models")), ["sources"]),
      panel("pipelines", ["pipelines"], new PipelinesPanel(body("pipelines")), ["sources"]),
      panel("deploys", ["deployments"], new DeploysPanel(body("deploys")), ["sources"]),
    ];
  }

  take(sections) {
    Object.assign(this.sections, sections);
  }

  clear() {
    this.sections = {};
  }

  /** The points of an endpoint's latest rollout since its start; nothing from an older controller. */
  curve(endpoint) {
    return this.sections.curves?.find((each) => each.endpoint === endpoint);
  }

  /** Shows what has changed. A panel that cannot be shown says so, and does not take the others with it. */
  show() {
    for (const { section, needs, wants, it } of this.#panels) {
      section.hidden = !needs.every((name) => this.sections[name]);
      if (section.hidden) continue;
      const used = [...needs, ...wants].map((name) => this.sections[name]);
      if (this.#seen.get(it)?.every((each, index) => each === used[index])) continue;
      this.#seen.set(it, used);
      try {
        it.show(Object.fromEntries([["history", NO_HISTORY], ...[...needs, ...wants].map((name, index) => [name, used[index]]).filter(([, value]) => value)]));
        delete section.dataset.broken;
      } catch (error) {
        section.dataset.broken = "true";
        console.error(`the panel ${section.id} cannot be shown:`, error);
      }
    }
  }
}
