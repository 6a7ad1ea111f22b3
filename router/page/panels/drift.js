// Drift of each feature against the training data, and the histogram of one.

import { badge, choices, make, Part, row, table } from "../dom.js";
import { count, partOf, plural } from "../format.js";
import { bars } from "../pictures.js";

const STATES = {
  unknown: ["calm", "not known: this version has no histograms of its training data, or they are not read yet"],
  warming: ["calm", "not compared yet: too few customers, or the first five minutes are not over"],
  watching: ["good", "watching"],
  usual: ["good", "watching, also against the usual hour of the week"],
};
const ALL = ""; // predictions have no feature's name

export class DriftPanel {
  #endpoint = make("select", { id: "drift-endpoint" });
  #feature = make("select", { id: "drift-feature" });
  #endpointTools;
  #featureTools;
  #head = new Part(make("div", { "data-part": "drift" }));
  #histogram = new Part(make("div", { "data-part": "histogram" }));
  #section = null;
  #fetched = new Map(); // histograms that were asked for, by endpoint and version
  #read;

  /** `read(endpoint)` gets an endpoint's drift with the histograms of all features. */
  constructor(body, read) {
    this.#read = read;
    for (const select of [this.#endpoint, this.#feature]) select.addEventListener("change", () => this.#render());
    this.#endpointTools = make("div", { class: "tools" }, make("label", {}, "Endpoint ", this.#endpoint));
    this.#featureTools = make("div", { class: "tools" }, make("label", {}, "Histogram of ", this.#feature));
    body.append(this.#endpointTools, this.#head.element, this.#featureTools, this.#histogram.element);
  }

  show({ drift }) {
    this.#section = drift;
    this.#render();
  }

  #render() {
    const { endpoints, left_out: left } = this.#section;
    this.#endpointTools.hidden = endpoints.length < 2;
    choices(this.#endpoint, endpoints.map((each) => ({ value: each.endpoint, text: each.endpoint })));
    const one = endpoints.find((each) => each.endpoint === this.#endpoint.value);
    this.#head.show([one ?? null, left], () => (one ? scores(one, left) : [make("p", { class: "quiet" }, "Nothing is watched: no endpoint is deployed.")]));
    const names = one ? one.features.map((each) => each.feature) : [];
    this.#featureTools.hidden = !names.length;
    choices(this.#feature, names.map((name) => ({ value: name, text: name })));
    const found = one && this.#found(one);
    this.#histogram.show([one?.endpoint, this.#feature.value, found ?? null], () => (one && names.length ? this.#picture(one, found) : []));
  }

  #found(one) {
    const isIt = (each) => each.feature === this.#feature.value;
    return one.histograms.find(isIt) ?? this.#fetched.get(`${one.endpoint} ${one.version}`)?.find(isIt);
  }

  #picture(one, found) {
    if (found) return histogram(found);
    const key = `${one.endpoint} ${one.version}`;
    if (!this.#fetched.has(key) && one.state !== "unknown") {
      this.#fetched.set(key, []);
      this.#read(one.endpoint).then((drift) => {
        this.#fetched.set(key, drift?.histograms ?? []);
        this.#render();
      });
    }
    return [make("p", { class: "quiet" }, "No histogram of this feature yet.")];
  }
}

function scores(one, left) {
  const [mood, words] = STATES[one.state] ?? ["calm", one.state];
  const alerts = one.alerts.length;
  const all = [...one.features, { ...one.predictions, feature: ALL }];
  const customers = `: ${count(one.customers_hour)} customers in the last hour, ${count(one.customers_day)} in the last day`;
  const head = make(
    "p",
    {},
    alerts ? badge("warn", plural(alerts, "alert")) : badge(mood, words),
    make("span", { class: "quiet" }, ` ${one.endpoint} ${one.version}${one.state === "unknown" ? "" : customers}`),
  );
  const rest = left ? [make("p", { class: "quiet" }, `${count(left)} more endpoints: GET /api/v2/drift`)] : [];
  return [head, table("Drift by feature", ["Feature", "1 h", "24 h", "State"], all.map((each) => line(each, one.alerts))), ...rest];
}

function line(each, alerts) {
  const of = alerts.filter((alert) => alert.feature === each.feature);
  const number = (value) => (value === null ? "too early" : value.toFixed(2));
  const isKnown = each.hour !== null || each.day !== null;
  const state = of.length ? badge("warn", of.map(told).join("; ")) : badge(isKnown ? "good" : "calm", isKnown ? "stable" : "unknown");
  const name = make("th", { scope: "row", class: "wide" }, each.feature === ALL ? "predictions" : each.feature);
  return row([name, number(each.hour), number(each.day), make("td", { class: "wide" }, state)], {
    "data-drift": each.feature,
  });
}

function told({ window, against, score, tolerance }) {
  return `${score.toFixed(2)} over ${window} against ${against}, at most ${tolerance.toFixed(2)}`;
}

/** The last hour where it has customers, otherwise the last day. */
function histogram({ feature, bins, training, hour, day }) {
  const isHour = hour.some((share) => share > 0);
  const now = isHour ? hour : day;
  const most = Math.max(...training, ...now);
  const words = isHour ? "last hour" : "last day";
  const rows = bins.map((bin, index) =>
    row([make("th", { scope: "row", class: "wide" }, bin), partOf(training[index] ?? 0), partOf(now[index] ?? 0), make("td", { class: "bar" }, bars(training[index] ?? 0, now[index] ?? 0, most))]),
  );
  const key = make("p", { class: "quiet" }, make("span", { class: "key then", "aria-hidden": "true" }), "training data, above. ", make("span", { class: "key now", "aria-hidden": "true" }), `${words}, below.`);
  return [key, table(`Histogram of ${feature}`, ["Bin", "Training", isHour ? "1 h" : "24 h", "Shares"], rows)];
}
