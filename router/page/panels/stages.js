// The six stages from raw data to monitoring, and the run that they tell about.

import { badge, make } from "../dom.js";
import { clockTime, dateTime, isoTime } from "../format.js";

const WORDS = {
  idle: ["calm", "nothing yet"],
  waiting: ["calm", "waiting"],
  running: ["busy", "running"],
  held: ["warn", "held"],
  done: ["good", "done"],
  failed: ["bad", "failed"],
  unknown: ["calm", "not known"],
  watching: ["good", "watching"],
  alert: ["warn", "alert"],
};

export function stages({ stages: list, latest }) {
  const items = list.map((stage, index) => {
    const [mood, word] = WORDS[stage.state] ?? ["calm", stage.state];
    return make(
      "li",
      { "data-stage": stage.id, "data-mood": mood },
      make("h3", {}, `${index + 1}. ${stage.title}`),
      make("p", {}, badge(mood, word), stage.at_s === null ? null : " ", stage.at_s === null ? null : at(stage.at_s)),
      stage.detail ? make("p", { class: "quiet" }, stage.detail) : null,
    );
  });
  return [make("p", { class: "quiet", "data-field": "latest" }, told(latest)), make("ol", { class: "stages" }, items)];
}

function at(seconds) {
  return make("time", { class: "quiet", datetime: isoTime(seconds), title: `${dateTime(seconds)} UTC` }, clockTime(seconds));
}

function told(latest) {
  if (!latest) return ["No run yet. Start one with ", make("code", {}, "divisions run PIPELINE"), "."];
  const made = latest.version ? `, which made ${latest.model} ${latest.version}` : "";
  return [`Latest run: ${latest.pipeline || "without a pipeline"} `, make("code", {}, latest.run_id.slice(0, 12)), `, ${latest.status.toLowerCase()}${made}.`];
}
