// Small parts that several pages use.

import { attribute, h, put, svg } from "./dom.js";
import { ago, moment, now, plural, seconds, span, tone } from "./format.js";

const ICONS = {
  overview: "M4 13h6V4H4zM14 20h6v-9h-6zM14 4v4h6V4zM4 20h6v-4H4z",
  modules: "M12 3 4 7.500v9L12 21l8-4.500v-9zM4 7.500l8 4.500 8-4.500M12 12v9",
  edges: "M12 8a3 3 0 1 0 0-6 3 3 0 0 0 0 6zM5 22a3 3 0 1 0 0-6 3 3 0 0 0 0 6zM19 22a3 3 0 1 0 0-6 3 3 0 0 0 0 6zM10.500 7.600 6.500 16.400M13.500 7.600l4 8.800",
  devices: "M7 3h10v18H7zM11 17.500h2",
  events: "M3 12h4l3-8 4 16 3-8h4",
  crashes: "M12 3 2.500 20h19zM12 10v4M12 17v.010",
  letters: "M3 6h18v12H3zM3 7l9 7 9-7",
  logs: "M5 6h14M5 12h14M5 18h9",
  access: "M15 9a5 5 0 1 1-4.600-4.980A5 5 0 0 1 15 9zM13.500 12.500 21 20v1.500h-3v-2h-2",
  check: "M5 12.500 10 17 19 7.500",
  alert: "M12 6v7.500M12 17.500v.010",
  theme: "M12 3a9 9 0 1 0 0 18zM12 3a9 9 0 0 1 0 18",
};

export function icon(name) {
  return svg("svg", { class: "icon", viewBox: "0 0 24 24", "aria-hidden": "true" },
    svg("path", { d: ICONS[name] }));
}

export function state(word) {
  return h("span", { class: `state ${tone(word)}` }, word);
}

export function setState(node, word) {
  attribute(node, "class", `state ${tone(word)}`);
  put(node, word);
}

// How many there are, and whether the newest alone are shown.
export function howMany(found, noun) {
  const more = found.total > found.newest.length ? `, the newest ${found.newest.length} are shown` : "";
  return plural(found.total, noun) + more;
}

// A time that says how long ago it was, and is kept up to date.
export function since(at) {
  const node = h("time", {});
  setSince(node, at);
  return node;
}

export function setSince(node, at) {
  const time = seconds(at);
  if (!time) {
    node.removeAttribute("datetime");
    put(node, "");
    return;
  }
  attribute(node, "datetime", new Date(time * 1000).toISOString());
  attribute(node, "title", moment(time));
  put(node, node.dataset.form === "span" ? span(now() - time) : ago(time));
}

setInterval(() => {
  if (document.hidden) return;
  for (const node of document.querySelectorAll("time[datetime]:not([data-fixed])")) {
    setSince(node, node.getAttribute("datetime"));
  }
}, 5000);

export function empty(text) {
  return h("p", { class: "empty" }, text);
}

export function facts(pairs) {
  return h("dl", { class: "facts" },
    pairs.filter(([, value]) => value !== "" && value !== null && value !== undefined)
      .map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
}

export function segments(label, choices, chosen, choose) {
  const buttons = choices.map(([value, text]) =>
    h("button", {
      type: "button",
      "aria-pressed": String(value === chosen),
      onclick: (event) => {
        for (const each of buttons) each.setAttribute("aria-pressed", String(each === event.currentTarget));
        choose(value);
      },
    }, text));
  return h("div", { class: "segments", role: "group", "aria-label": label }, buttons);
}

export function toast(text, bad = false) {
  let box = document.querySelector(".toasts");
  if (!box) {
    box = h("div", { class: "toasts", role: "status" });
    document.body.append(box);
  }
  const node = h("div", { class: bad ? "toast bad" : "toast" }, text);
  box.append(node);
  setTimeout(() => node.remove(), 6000);
}

export function problem(error) {
  return h("p", { class: "fault-text", role: "alert" }, error.message);
}
