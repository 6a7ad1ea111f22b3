// Charts of what was seen while the page is open. The last point is also in the card, as text.

import { clockTime } from "./format.js";

const HEIGHT = 170;
const MAX_POINTS = 7200; // two hours at one a second
const colours = matchMedia("(prefers-color-scheme: dark)");

/** Points over time, one chart; series are `{label, colour, dash, isStepped, unit}`, colours names of CSS variables. */
export class Chart {
  #element;
  #series;
  #range;
  #data;
  #plot = null;

  constructor(element, series, range) {
    this.#element = element;
    this.#series = series;
    this.#range = range;
    this.clear();
    new ResizeObserver(() => this.#resize()).observe(element);
    colours.addEventListener("change", () => this.#draw());
  }

  clear() {
    this.#data = [[], ...this.#series.map(() => [])];
    this.#plot?.setData(this.#data);
  }

  /** Adds a point; of two at the same second the later one counts. Values are numbers or null. */
  add(atS, values) {
    const times = this.#data[0];
    if (times.length && atS <= times.at(-1)) {
      values.forEach((value, index) => (this.#data[index + 1][times.length - 1] = value));
    } else {
      [atS, ...values].forEach((value, index) => this.#data[index].push(value));
    }
    if (times.length > MAX_POINTS) this.#data.forEach((column) => column.shift());
    if (!this.#plot) this.#draw();
    else this.#plot.setData(this.#data);
    this.#tellLast();
  }

  /** The legend has the values under the pointer; without one, the latest. */
  #tellLast() {
    if (this.#plot && !(this.#plot.cursor.left >= 0)) this.#plot.setLegend({ idx: this.#data[0].length - 1 });
  }

  #resize() {
    const width = this.#element.clientWidth;
    if (width && this.#plot && this.#plot.width !== width) this.#plot.setSize({ width, height: HEIGHT });
    else if (width && !this.#plot) this.#draw();
  }

  #draw() {
    const width = this.#element.clientWidth;
    if (!width || !this.#data[0].length) return;
    this.#plot?.destroy();
    const style = getComputedStyle(this.#element);
    const colour = (name) => style.getPropertyValue(name).trim();
    const axis = { stroke: colour("--quiet"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false } };
    this.#plot = new uPlot(
      {
        width,
        height: HEIGHT,
        tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
        scales: { y: { range: (_, low, high) => this.#range(low, high) } },
        axes: [{ ...axis, space: 80, values: (_, times) => times.map(clockTime) }, { ...axis, size: 44 }],
        cursor: { drag: { x: false, y: false } },
        legend: { markers: { width: 2, dash: (plot, index) => (plot.series[index].dash ? "dashed" : "solid") } },
        series: [
          { label: "at", value: (_, seconds) => (seconds === null ? "--" : clockTime(seconds)) },
          ...this.#series.map((each) => ({
            label: each.label,
            stroke: colour(each.colour),
            width: each.dash ? 1.5 : 2,
            dash: each.dash,
            points: { show: false },
            paths: each.isStepped ? uPlot.paths.stepped({ align: 1 }) : undefined,
            value: (_, value) => (value === null ? "--" : `${Number(value.toFixed(2))}${each.unit ?? ""}`),
          })),
        ],
      },
      this.#data,
      this.#element,
    );
    this.#plot.over.addEventListener("mouseleave", () => this.#tellLast());
    this.#tellLast();
  }
}
