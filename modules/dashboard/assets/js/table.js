// A table of any number of rows: sorted by a column, in pages, and only what is seen is drawn.

import { attribute, eachFrame, h, keyed, put } from "./dom.js";
import { number } from "./format.js";

// `columns`: {title, value (what is sorted by), show (returns the cell's content), kind (class),
// quiet (whether the title is for screen readers alone)}.
export function table({ label, columns, key, sort = 0, descending = false, size = 100, nothing = "Nothing here." }) {
  let rows = [];
  let page = 0;
  const body = h("tbody", {});
  const heads = columns.map((column, index) => h("th", { scope: "col", class: column.kind },
    column.value
      ? h("button", { type: "button", onclick: () => sortBy(index) }, column.title)
      : column.quiet ? h("span", { class: "visually-hidden" }, column.title) : column.title));
  const empty = h("p", { class: "empty hidden" }, nothing);
  const range = h("span", { role: "status" });
  const back = h("button", { class: "button small", type: "button", onclick: () => turn(-1) }, "Previous");
  const next = h("button", { class: "button small", type: "button", onclick: () => turn(1) }, "Next");
  const pager = h("div", { class: "pager" }, range, h("div", { class: "buttons" }, back, next));
  const wrap = h("div", { class: "table-wrap", tabindex: "0", role: "region", "aria-label": label },
    h("table", {}, h("caption", { class: "visually-hidden" }, label),
      h("thead", {}, h("tr", {}, heads)), body));
  const show = keyed(body, () => makeRow(columns));
  const draw = eachFrame(() => {
    const sorted = order();
    const pages = Math.max(1, Math.ceil(sorted.length / size));
    page = Math.min(page, pages - 1);
    const seen = sorted.slice(page * size, (page + 1) * size);
    show(seen, key);
    empty.classList.toggle("hidden", sorted.length > 0);
    wrap.classList.toggle("hidden", !sorted.length);
    pager.classList.toggle("hidden", pages === 1);
    put(range, `${number(page * size + 1)} to ${number(page * size + seen.length)} of ${number(sorted.length)}`);
    back.disabled = page === 0;
    next.disabled = page === pages - 1;
    heads.forEach((head, index) => attribute(head, "aria-sort",
      index !== sort ? "none" : descending ? "descending" : "ascending"));
  });

  function order() {
    const { value } = columns[sort] ?? {};
    if (!value) return rows;
    const sign = descending ? -1 : 1;
    return rows.map((row) => [value(row), row])
      .sort(([a], [b]) => sign * compare(a, b))
      .map(([, row]) => row);
  }

  function sortBy(index) {
    descending = index === sort && !descending;
    sort = index;
    draw();
  }

  function turn(by) {
    page += by;
    draw();
    wrap.scrollIntoView({ block: "nearest" });
  }

  return {
    node: h("div", {}, empty, wrap, pager),
    update: (list) => {
      rows = list;
      draw();
    },
    first: () => { page = 0; },
  };
}

function compare(a, b) {
  const missing = (value) => value === null || value === undefined || value === "";
  if (missing(a) || missing(b)) return missing(a) - missing(b);
  return typeof a === "number" && typeof b === "number" ? a - b
    : String(a).localeCompare(String(b), "en", { numeric: true });
}

function makeRow(columns) {
  const cells = columns.map((column) => h("td", { class: column.kind }));
  let shown = null;
  return {
    node: h("tr", {}, cells),
    update: (row) => {
      if (row === shown) return;
      shown = row;
      columns.forEach((column, index) => put(cells[index], column.show(row) ?? ""));
    },
  };
}

// A search field that calls back while one types.
export function search(label, changed, value = "") {
  return h("label", { class: "field" }, label,
    h("input", { type: "search", autocomplete: "off", spellcheck: "false", value, oninput: (event) => changed(event.target.value) }));
}

export function tick(label, changed, checked = false) {
  return h("label", { class: "tick" },
    h("input", { type: "checkbox", checked, onchange: (event) => changed(event.target.checked) }), label);
}

export function choice(label, options, changed) {
  const select = h("select", { onchange: (event) => changed(event.target.value) });
  const node = h("label", { class: "field" }, label, select);
  // Keeps what is chosen, also if nothing has it at the moment.
  const set = (values, chosen = select.value) => {
    const all = chosen && !values.includes(chosen) ? [...values, chosen] : values;
    put(select, h("option", { value: "" }, "all"), ...all.map((value) => h("option", { value }, value)));
    select.value = chosen;
  };
  set(options, "");
  return { node, set };
}
