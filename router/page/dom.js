// Elements from values. Text only ever becomes text: nothing here, and nothing that uses it, parses markup.

/** Makes an element. `attributes` are set as they are (null and false are left out); children are nodes or text. */
export function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === true) element.setAttribute(key, "");
    else if (value !== null && value !== false && value !== undefined) element.setAttribute(key, String(value));
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined).map(text));
  return element;
}

function text(child) {
  return child instanceof Node ? child : document.createTextNode(String(child));
}

const SVG = "http://www.w3.org/2000/svg";

/** Makes an element of a picture; children are such elements or text. */
export function draw(name, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, String(value));
  element.append(...children.flat().map(text));
  return element;
}

/** A link to an address of the web. Any other address, which may be a script, stays text. */
export function link(address, words) {
  return /^https?:\/\//i.test(address) ? make("a", { href: address, rel: "noreferrer" }, words) : make("span", {}, words);
}

/** A state: a sign, a word and a colour. `mood` is good, warn, bad, busy or calm. */
export function badge(mood, words) {
  const signs = { good: "✔", warn: "▲", bad: "✖", busy: "◐", calm: "○" };
  return make("span", { class: "badge", "data-mood": mood }, make("span", { "aria-hidden": "true" }, `${signs[mood]} `), words);
}

/** Sets an element's text, unless it has it: what does not change is neither announced nor deselected. */
export function setText(element, value) {
  if (element.textContent !== value) element.textContent = value;
}

/** A part of the page that is built anew only when what it shows has changed. What has a `data-key` keeps focus and place. */
export class Part {
  #element;
  #key = null;

  constructor(element) {
    this.#element = element;
  }

  #keyed(name) {
    return this.#element.querySelector(`[data-key="${CSS.escape(name)}"]`);
  }

  get element() {
    return this.#element;
  }

  /** `value` is anything that JSON tells apart; `build` returns the new children. */
  show(value, build) {
    const key = JSON.stringify(value);
    if (key === this.#key) return;
    this.#key = key;
    const focused = focusedName(this.#element);
    const scrolled = [...this.#element.querySelectorAll("[data-key]")].filter((each) => each.scrollTop || each.scrollLeft);
    const places = scrolled.map((each) => [each.dataset.key, { top: each.scrollTop, left: each.scrollLeft }]);
    this.#element.replaceChildren(...build());
    for (const [name, place] of places) this.#keyed(name)?.scrollTo({ ...place, behavior: "instant" });
    if (focused) this.#keyed(focused)?.focus({ preventScroll: true });
  }
}

/** The `data-key` of the focused element inside; what replaces it has the same, and gets the focus. */
function focusedName(element) {
  const { activeElement } = document;
  return element.contains(activeElement) ? activeElement.dataset.key : undefined;
}

/** A table with a caption that only screen readers need, in a frame that scrolls on narrow screens. */
export function table(caption, header, rows, attributes = {}) {
  return make(
    "div",
    { class: "scroll", role: "region", "aria-label": caption, tabindex: "0", "data-key": `table ${caption}` },
    make(
      "table",
      attributes,
      make("thead", {}, make("tr", {}, header.map((title) => make("th", { scope: "col" }, title)))),
      make("tbody", {}, rows),
    ),
  );
}

/** One row: the first cell is its heading. A cell is a value, or an element that is put into one. */
export function row(cells, attributes = {}) {
  const [first, ...rest] = cells;
  return make("tr", attributes, first instanceof HTMLTableCellElement ? first : make("th", { scope: "row" }, first), rest.map(cell));
}

function cell(value) {
  return value instanceof HTMLTableCellElement ? value : make("td", {}, value);
}

/** Names and values; an item is `[name, field, value]`. */
export function definitions(list) {
  return make(
    "dl",
    {},
    list.map(([name, field, value]) => make("div", {}, make("dt", {}, name), make("dd", { "data-field": field }, value))),
  );
}

/** Gives a select its options, `{value, text}`, and keeps the choice if it is still there. */
export function choices(select, options) {
  const key = JSON.stringify(options);
  if (select.dataset.options === key) return;
  const chosen = select.value;
  select.replaceChildren(...options.map(({ value, text: words }) => make("option", { value }, words)));
  if (options.some(({ value }) => value === chosen)) select.value = chosen;
  select.dataset.options = key;
}

/** What a source's absence means for a panel: nothing while it answers. */
export function note(sources, name) {
  const source = (sources ?? []).find((each) => each.name === name);
  if (!source || source.state === "ok") return [];
  if (source.state === "waiting") return [make("p", { class: "quiet" }, "Not read yet since the controller has started.")];
  const since = source.read_at_s === null ? "" : `, last read at ${new Date(source.read_at_s * 1000).toISOString().slice(11, 19)} UTC`;
  return [make("p", {}, badge("warn", `Away${since}: ${source.reason}`))];
}
