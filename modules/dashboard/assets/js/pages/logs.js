// Logs: the output of a module as it comes, with a search.

import { h, put } from "../dom.js";
import { plural } from "../format.js";
import { search, tick } from "../table.js";

const MOST = 3000;

export function logs({ open }) {
  const module = new URLSearchParams(location.search).get("module") ?? "";
  const topic = `logs:${module}`;
  let lines = [];
  let words = "";
  let only = false;
  let severe = false;
  const count = h("span", { class: "muted", role: "status" });
  const view = h("div", { class: "log-view", tabindex: "0", role: "log", "aria-label": "Log", "aria-live": "off" });
  const follow = h("input", { type: "checkbox", checked: true });
  const select = h("select", { onchange: () => open(select.value ? `/logs?module=${encodeURIComponent(select.value)}` : "/logs") });
  let names = "";
  let kind = ""; // of the last line

  const matches = (line) => !words || line.toLowerCase().includes(words);
  const append = (news) => {
    const part = document.createDocumentFragment();
    for (const line of news) {
      kind = kindOf(line, kind);
      if ((!only || matches(line)) && (!severe || kind)) part.append(lineNode(line, kind, words));
    }
    view.append(part);
    while (view.childElementCount > MOST) view.firstElementChild.remove();
    if (follow.checked) view.scrollTop = view.scrollHeight;
  };
  const redraw = () => {
    view.replaceChildren();
    kind = "";
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
        tick("Only lines that match", (checked) => {
          only = checked;
          redraw();
        }),
        tick("Only warnings and errors", (checked) => {
          severe = checked;
          redraw();
        }),
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

// How severe a line is; one that continues a record is as severe as that.
function kindOf(line, before) {
  if (/^E\d{4} |^F\d{4} |"level": ?"(error|critical)"/.test(line)) return "bad";
  if (/^W\d{4} |"level": ?"warning"/.test(line)) return "warn";
  return /^\s/.test(line) ? before : "";
}

function lineNode(line, kind, words) {
  const node = h("div", { class: `log-line ${kind}` });
  const at = words ? line.toLowerCase().indexOf(words) : -1;
  if (at < 0) node.textContent = line || " ";
  else node.append(line.slice(0, at), h("mark", {}, line.slice(at, at + words.length)), line.slice(at + words.length));
  return node;
}
