// Small pictures: a line of the last minutes, and bars of shares. What they show stands beside them as text.

import { draw } from "./dom.js";

const WIDTH = 120;
const HEIGHT = 28;

/** The points of a line through `values` (oldest first), as runs without gaps; null and NaN are gaps. */
export function lines(values, width = WIDTH, height = HEIGHT) {
  const known = values.filter(Number.isFinite);
  if (known.length < 2) return [];
  const [low, high] = [Math.min(...known), Math.max(...known)];
  const x = (index) => (index / (values.length - 1)) * width;
  const y = (value) => (high === low ? height / 2 : height - 2 - ((value - low) / (high - low)) * (height - 4));
  const runs = [[]];
  values.forEach((value, index) => {
    if (Number.isFinite(value)) runs.at(-1).push(`${x(index).toFixed(1)},${y(value).toFixed(1)}`);
    else if (runs.at(-1).length) runs.push([]);
  });
  return runs.filter((run) => run.length > 1).map((run) => run.join(" "));
}

/** A line without axes; only its shape counts. */
export function sparkline(values) {
  const attributes = { class: "spark", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" };
  return draw("svg", attributes, lines(values).map((points) => draw("polyline", { points })));
}

/** Two shares of one bin, one above the other: of the training data, and of now. Shares are parts of `most`. */
export function bars(training, now, most) {
  const width = (share) => (most > 0 ? Math.min(1, Math.max(0, share / most)) * 100 : 0).toFixed(2);
  return draw(
    "svg",
    { class: "bars", viewBox: "0 0 100 14", preserveAspectRatio: "none", "aria-hidden": "true" },
    draw("rect", { class: "then", x: 0, y: 0, width: width(training), height: 6 }),
    draw("rect", { class: "now", x: 0, y: 8, width: width(now), height: 6 }),
  );
}
