// Logs: the output of a module as it comes, with a search.

import { h, put } from "../dom.js";
import { plural } from "../format.js";
import { search } from "../table.js";

const MOST = 3000;

export function logs({ open }) {
  const module = new URLSearchParams(location.search).get("module") ?? "";
  const topic = `logs:${module}`;
  let lines = [];
  let words = "";
  let only = false;
  const count = h("span", { class: "muted", role: "status" });
  const view = h("div", { class: "log-view", tabindex: "0", role: "log", "aria-label": "Log", "aria-live": "off" });
  const follow = h("input", { type: "checkbox", checked: true });
  const select = h("select", { onchange: () => open(select.value ? `/logs?module=${encodeURIComponent(select.value)}` : "/logs") });
  let names = "";

  const matches = (line) => !words || line.toLowerCase().includes(words);
  const append = (news) => {
    const part = document.createDocumentFragment();
    for (const line of news) if (!only || matches(line)) part.append(lineNode(line, words));
    view.append(part);
    while (view.childElementCount > MOST) view.firstElementChild.remove();
    if (follow.checked) view.scrollTop = view.scrollHeight;
  };
  const redraw = () => {
    view.replaceChildren();
    append(lines);
    tell();
  };
  const tell = () => {
    const found = words ? lines.filter(matches).length : 0;
    put(count, words ? `${plural(found, "line")} of ${lines.length} match` : plural(lines.length, "line"));
  };
  view.addEventListener("scroll", () => {
    const atEnd = view.scrollTop + view.clientHeight >= view.scrollHeight - 24;
    if (!atEnd) follow.checked = false;
    else if (!follow.checked) follow.checked = true;
  });
  return {
    node: h("div", { class: "page" },
      h("div", { class: "page-head" }, h("h1", {}, "Logs"), count),
      h("div", { class: "filters" },
        h("label", { class: "field" }, "Module", select),
        search("Search", (text) => {
          words = text.toLowerCase();
          redraw();
        }),
        h("label", { class: "tick" }, h("input", {
          type: "checkbox",
          onchange: (event) => {
            only = event.target.checked;
            redraw();
          },
        }), "Only lines that match"),
        h("label", { class: "tick" }, follow, "Follow")),
      view),
    topics: {
      [topic]: (news) => {
        if (news.all) lines = [];
        const added = news.lines;
        lines = [...lines, ...added].slice(-MOST);
        if (news.all) redraw();
        else append(added);
        tell();
      },
      status: (status) => {
        const found = ["supervisor", ...status.modules.filter((each) => each.enabled).map((each) => each.name)];
        if (found.join() === names) return;
        names = found.join();
        put(select, h("option", { value: "" }, "all modules"), ...found.map((name) => h("option", { value: name }, name)));
        select.value = module;
      },
    },
  };
}

function lineNode(line, words) {
  const kind = /^E\d{4} |"level": ?"(error|critical)"|Traceback/.test(line) ? "bad" : /^W\d{4} |"level": ?"warning"/.test(line) ? "warn" : "";
  const node = h("div", { class: `log-line ${kind}` });
  const at = words ? line.toLowerCase().indexOf(words) : -1;
  if (at < 0) node.textContent = line || " ";
  else node.append(line.slice(0, at), h("mark", {}, line.slice(at, at + words.length)), line.slice(at + words.length));
  return node;
}
