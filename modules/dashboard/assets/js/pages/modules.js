// Modules: their states, what they use, and the verbs.

import { segment } from "../api.js";
import { chart } from "../chart.js";
import { h, keyed, put } from "../dom.js";
import { bytes, number, percent, plural } from "../format.js";
import { History } from "../history.js";
import { segments, setSince, setState, since, state } from "../parts.js";
import { reloadButton, verbButton, verbsOf } from "../verbs.js";

export function modules() {
  const samples = new History();
  const list = h("div", { class: "module-grid" });
  const show = keyed(list, (module) => moduleCard(module.name, samples));
  let parts = new Map();
  const draw = () => { for (const part of parts.values()) part.draw(); };
  const load = (span) => samples.load(span).then(draw, () => {});
  const again = setInterval(() => { if (samples.span === "day") load("day"); }, 60000);
  load("hour");
  return {
    node: h("div", { class: "page" },
      h("div", { class: "page-head" }, h("h1", {}, "Modules"),
        segments("Span of the charts", [["hour", "Last hour"], ["day", "Last day"]], "hour", load),
        reloadButton()),
      list),
    topics: {
      status: (status) => {
        const known = parts.size;
        parts = show(status.modules, (each) => each.name);
        if (parts.size !== known) draw();
      },
      sample: (sample) => {
        samples.add(sample);
        if (samples.span === "hour") draw();
      },
    },
    close: () => clearInterval(again),
  };
}

function moduleCard(name, samples) {
  const word = state("");
  const time = since(null);
  const buttons = h("div", { class: "buttons" });
  const reason = h("p", { class: "module-reason" });
  const cpu = chart("CPU", { format: percent, least: 5 });
  const memory = chart("Memory", { series: 2, format: bytes, least: 1 << 20 });
  const fill = chart("Channel", { series: 3, format: percent, least: 5 });
  const charts = h("div", { class: "module-charts" }, cpu.node, memory.node, fill.node);
  const line = h("div", { class: "module-facts" });
  let verbs = "";
  return {
    node: h("section", { class: "card", "aria-label": name },
      h("div", { class: "module-head" }, h("h2", {}, name), word, time,
        h("a", { class: "small", href: `/logs?module=${encodeURIComponent(name)}` }, "Logs"), buttons),
      reason, charts, line),
    update: (module) => {
      setState(word, module.state);
      setSince(time, module.since);
      put(reason, module.reason);
      reason.classList.toggle("hidden", !module.reason);
      charts.classList.toggle("hidden", !module.enabled);
      cpu.now(module.cpu);
      memory.now(module.rss_bytes);
      const { inbox } = module;
      fill.now(inbox.capacity_bytes ? (100 * inbox.bytes) / inbox.capacity_bytes : 0);
      const possible = verbsOf(module);
      if (possible.join() !== verbs) {
        verbs = possible.join();
        put(buttons, ...possible.map((verb) => verbButton(name, verb)));
      }
      drawFacts(line, module);
    },
    draw: () => {
      samples.drawModule(cpu, name, "cpu");
      samples.drawModule(memory, name, "rss");
      samples.drawModule(fill, name, "fill");
    },
  };
}

function drawFacts(line, module) {
  const { inbox } = module;
  const listening = Object.values(module.details?.listen ?? {});
  const causes = Object.entries(module.restarts_by_cause ?? {}).map(([cause, count]) => `${cause} ${count}`);
  const pairs = !module.enabled ? [] : [
    ["pid", module.pid],
    ["restarts", module.restarts + (causes.length ? ` (${causes.join(", ")})` : "")],
    ["threads", module.threads],
    ["files", module.fds],
    ["in the channel", plural(inbox.messages, "message")],
    ["received", number(inbox.received_total)],
    inbox.redelivered_total ? ["delivered again", number(inbox.redelivered_total)] : null,
    inbox.dead_letters ? ["dead letters", number(inbox.dead_letters)] : null,
    listening.length ? ["listens on", listening.join(", ")] : null,
    module.details?.waiting_for ? ["waits for", String(module.details.waiting_for)] : null,
  ].filter((pair) => pair && pair[1] !== null && pair[1] !== undefined);
  const text = JSON.stringify([pairs, module.last_exit]);
  if (line.dataset.shown === text) return;
  line.dataset.shown = text;
  put(line, ...pairs.map(([label, value]) => h("span", {}, `${label} `, h("b", {}, String(value)))), lastExit(module));
}

function lastExit({ last_exit: exit }) {
  if (!exit) return null;
  const reason = exit.report ? h("a", { href: `/crashes/${segment(exit.report)}` }, exit.reason) : exit.reason;
  return h("span", {}, "last exit ", h("b", {}, reason), " ", since(exit.at));
}
