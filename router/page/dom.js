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

/** Sets an element's text, unless it has it: what does not change is neither announced nor deselected. */
export function setText(element, value) {
  if (element.textContent !== value) element.textContent = value;
}

/** A part of the page that is built anew only when what it shows has changed. */
export class Part {
  #element;
  #key = null;

  constructor(element) {
    this.#element = element;
  }

  /** `value` is anything that JSON tells apart; `build` returns the new children. */
  show(value, build) {
    const key = JSON.stringify(value);
    if (key === this.#key) return;
    this.#key = key;
    this.#element.replaceChildren(...build());
  }
}

/** A table with a caption that only screen readers need, in a frame that scrolls on narrow screens. */
export function table(caption, header, rows, attributes = {}) {
  return make(
    "div",
    { class: "scroll", role: "region", "aria-label": caption, tabindex: "0" },
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
  return make("tr", attributes, make("th", { scope: "row" }, first), rest.map(cell));
}

function cell(value) {
  return value instanceof HTMLTableCellElement ? value : make("td", {}, value);
}
