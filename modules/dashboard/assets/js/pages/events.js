// Events: the changes of state of modules, edges and devices, as they happen.

import { h, put } from "../dom.js";
import { moment, plural } from "../format.js";
import { state } from "../parts.js";
import { choice, search, table } from "../table.js";
import { link } from "../timeline.js";

const MOST = 2000;

const COLUMNS = [
  { title: "Time", kind: "tight number", value: (each) => each.number, show: (each) => h("time", { datetime: new Date(each.at * 1000).toISOString(), "data-fixed": true }, moment(each.at)) },
  { title: "Kind", value: (each) => each.kind, show: (each) => each.kind },
  { title: "Name", kind: "name", value: (each) => each.name, show: (each) => link(each.kind, each.name) },
  { title: "From", value: (each) => each.old, show: (each) => each.old },
  { title: "To", value: (each) => each.new, show: (each) => state(each.new) },
  { title: "Reason", kind: "long", show: (each) => each.reason },
];

export function events() {
  let all = [];
  let number = 0;
  let paused = false;
  const wanted = { kind: "", words: "" };
  const count = h("span", { class: "muted", role: "status" });
  const list = table({ label: "Events", columns: COLUMNS, key: (each) => each.number, sort: 0, descending: true, nothing: "No event matches." });
  const draw = () => {
    const words = wanted.words.toLowerCase();
    const found = all.filter((each) => (!wanted.kind || each.kind === wanted.kind) &&
      `${each.name} ${each.old} ${each.new} ${each.reason}`.toLowerCase().includes(words));
    put(count, paused ? `paused at ${plural(found.length, "event")}` : plural(found.length, "event"));
    list.update(found);
  };
  const filter = (kind) => (value) => {
    wanted[kind] = value;
    list.first();
    draw();
  };
  const pause = h("button", {
    class: "button", type: "button", "aria-pressed": "false",
    onclick: () => {
      paused = !paused;
      pause.setAttribute("aria-pressed", String(paused));
      put(pause, paused ? "Go on" : "Pause");
      draw();
    },
  }, "Pause");
  return {
    node: h("div", { class: "page" },
      h("div", { class: "page-head" }, h("h1", {}, "Events"), count, pause),
      h("section", { class: "card" },
        h("div", { class: "filters" }, search("Name, state or reason", filter("words")),
          choice("Kind", ["module", "edge", "device"], filter("kind")).node),
        list.node)),
    topics: {
      changes: (news) => {
        all = [...(news.all ? [] : all), ...news.changes.map((each) => ({ ...each, number: number++ }))].slice(-MOST);
        if (!paused) draw();
      },
    },
  };
}
