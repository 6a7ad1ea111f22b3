// Charts over time or over epochs. The last point is also beside them, as text.

import { clockTime } from "./format.js";

const HEIGHT = 170;
const MAX_POINTS = 7200; // two hours at one a second
const colours = matchMedia("(prefers-color-scheme: dark)");

/** Points over time (UTC) or over another number, one chart; series are `{label, colour, dash, isStepped, unit}`, colours names of CSS variables. */
export class Chart {
  #element;
  #series;
  #range;
  #axis;
  #data;
  #plot = null;

  /** `axis` names what the points are over. */
  constructor(element, series, range, axis = "at") {
    this.#element = element;
    this.#series = series;
    this.#range = range;
    this.#axis = axis;
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
    this.#refresh();
  }

  /** Takes whole columns, times first. Points that were added later than the last of them stay. */
  load(columns) {
    const lastS = columns[0].at(-1) ?? -Infinity;
    const from = this.#data[0].findIndex((atS) => atS > lastS);
    this.#data = columns.map((column, index) => (from < 0 ? [...column] : [...column, ...this.#data[index].slice(from)]));
    this.#refresh();
  }

  #refresh() {
    if (this.#plot) this.#plot.setData(this.#data);
    else this.#draw();
  }

  /** The legend has the values under the pointer; without one, the latest. */
  #tellLast() {
    if (this.#plot && this.#data[0].length && !(this.#plot.cursor.left >= 0)) this.#plot.setLegend({ idx: this.#data[0].length - 1 });
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
    const isTime = this.#axis === "at";
    const name = isTime ? clockTime : String;
    const axis = { stroke: colour("--quiet"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false } };
    this.#plot = new uPlot(
      {
        width,
        height: HEIGHT,
        tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
        scales: { x: { time: isTime }, y: { range: (_, low, high) => this.#range(low, high) } },
        axes: [{ ...axis, space: 80, values: (_, given) => given.map(name) }, { ...axis, size: 52 }],
        hooks: { draw: [() => queueMicrotask(() => this.#tellLast())] },
        cursor: { drag: { x: false, y: false } },
        legend: { markers: { width: 2, dash: (plot, index) => (plot.series[index].dash ? "dashed" : "solid") } },
        series: [
          { label: this.#axis, value: (_, given) => (Number.isFinite(given) ? name(given) : "--") },
          ...this.#series.map((each) => ({
            label: each.label,
            stroke: colour(each.colour),
            width: each.dash ? 1.5 : 2,
            dash: each.dash,
            points: { show: false },
            paths: each.isStepped ? uPlot.paths.stepped({ align: 1 }) : undefined,
            value: (_, value) => (!Number.isFinite(value) ? "--" : `${Number(value.toPrecision(4))}${each.unit ?? ""}`),
          })),
        ],
      },
      this.#data,
      this.#element,
    );
    this.#plot.over.addEventListener("mouseleave", () => this.#tellLast());
  }
}
