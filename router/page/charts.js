// Charts over time or over epochs. The last point is also beside them, as text.

import { clockTime } from "./format.js";

const HEIGHT = 170;
const NOISE = 1e-9; // what is left of sums that should be zero
const MAX_POINTS = 7200; // two hours at one a second
const colours = matchMedia("(prefers-color-scheme: dark)");

/** The range of values that lie decades apart: latencies, of which a spike must not flatten the rest. */
export const LOG = "log";

function around(low, high) {
  return [10 ** Math.floor(Math.log10(Math.max(low ?? 0.1, 1e-3))), 10 ** Math.ceil(Math.log10(Math.max(high ?? 1, 1e-2)))];
}

const DECADES = {
  splits: (_plot, _index, low, high) => {
    const exponents = Array.from({ length: Math.round(Math.log10(high / low)) + 1 }, (_, index) => Math.round(Math.log10(low)) + index);
    return exponents.map((exponent) => Number(`1e${exponent}`));
  },
  filter: (_, given) => given, // uPlot's own leaves some out
  values: (_, given) => given.map((value) => value.toLocaleString("en-US", { maximumFractionDigits: 3 })),
};

/** Points over time (UTC) or over another number, one chart; series are `{label, colour, dash, isStepped, unit}`, colours names of CSS variables. */
export class Chart {
  #element;
  #series;
  #range;
  #axis;
  #data;
  #marks = [];
  #plot = null;

  /** `range` is that of the values by their lowest and highest, or LOG; `axis` names what the points are over. */
  constructor(element, series, range, axis = "at") {
    this.#element = element;
    this.#series = series;
    this.#range = range;
    this.#axis = axis;
    this.clear();
    // In the next frame: a size that changes while sizes are observed is an error of the window.
    new ResizeObserver(() => requestAnimationFrame(() => this.#resize())).observe(element);
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

  /** Takes whole columns, times first. Points that were added later than the last of them stay. `marks` are `{atS, text}`. */
  load(columns, marks = []) {
    this.#marks = marks;
    const lastS = columns[0].at(-1) ?? -Infinity;
    const from = this.#data[0].findIndex((atS) => atS > lastS);
    this.#data = columns.map((column, index) => (from < 0 ? [...column] : [...column, ...this.#data[index].slice(from)]));
    this.#refresh();
  }

  #refresh() {
    if (this.#plot) this.#plot.setData(this.#data);
    else this.#draw();
  }

  /** The legend has the values under the pointer; without one, the latest that there are. */
  #tellLast() {
    const [times, ...columns] = this.#data;
    if (!this.#plot || !times.length || this.#plot.cursor.left >= 0) return;
    const idx = times.findLastIndex((_, index) => columns.some((column) => Number.isFinite(column[index])));
    this.#plot.setLegend({ idx: idx < 0 ? times.length - 1 : idx });
  }

  #resize() {
    const width = this.#element.clientWidth;
    if (width && this.#plot && this.#plot.width !== width) this.#plot.setSize({ width, height: HEIGHT });
    else if (width && !this.#plot) this.#draw();
  }

  /** A line and its text at each mark, from the top down, so that texts of near ones do not lie on one another. */
  #drawMarks({ ctx, bbox, valToPos }, colour) {
    const ratio = devicePixelRatio;
    ctx.save();
    ctx.strokeStyle = ctx.fillStyle = colour;
    ctx.font = `${11 * ratio}px system-ui, sans-serif`;
    ctx.textBaseline = "top";
    ctx.setLineDash([3 * ratio, 3 * ratio]);
    this.#marks.forEach(({ atS, text }, index) => {
      const x = Math.round(valToPos(atS, "x", true));
      if (!(x >= bbox.left && x <= bbox.left + bbox.width)) return;
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
      const isNearEnd = x > bbox.left + bbox.width / 2;
      ctx.textAlign = isNearEnd ? "right" : "left";
      ctx.fillText(text, x + (isNearEnd ? -4 : 4) * ratio, bbox.top + (index % 4) * 13 * ratio);
    });
    ctx.restore();
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
        scales: { x: { time: isTime }, y: this.#range === LOG ? { distr: 3, range: (_, low, high) => around(low, high) } : { range: (_, low, high) => this.#range(low, high) } },
        axes: [{ ...axis, space: 80, values: (_, given) => given.map(name) }, { ...axis, size: 52, ...(this.#range === LOG ? DECADES : {}) }],
        hooks: { draw: [(plot) => this.#drawMarks(plot, colour("--quiet")), () => queueMicrotask(() => this.#tellLast())] },
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
            value: (_, value) => (!Number.isFinite(value) ? "--" : `${Math.abs(value) < NOISE ? 0 : Number(value.toPrecision(4))}${each.unit ?? ""}`),
          })),
        ],
      },
      this.#data,
      this.#element,
    );
    this.#plot.over.addEventListener("mouseleave", () => this.#tellLast());
  }
}
