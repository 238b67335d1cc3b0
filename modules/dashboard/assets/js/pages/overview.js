// Overview: is all well, what is not and why, and what changed in the last hour.

import { chart } from "../chart.js";
import { attribute, h, keyed, put } from "../dom.js";
import { bytes, number, percent, plural, seconds, span, now } from "../format.js";
import { History } from "../history.js";
import { icon, setSince, setState, since, state } from "../parts.js";
import { countOf, findProblems } from "../problems.js";
import { timeline } from "../timeline.js";

export function overview() {
  const samples = new History();
  const verdict = verdictPart();
  const tiles = tilesPart();
  const problems = problemsPart();
  const modules = modulesPart(samples);
  const edges = edgesPart(samples);
  const changes = timeline();
  const draw = () => {
    modules.draw();
    edges.draw();
  };
  const node = h("div", { class: "page" },
    h("div", { class: "page-head" }, h("h1", {}, "Overview")),
    verdict.node, tiles.node,
    h("div", { class: "columns" },
      h("div", { class: "stack" }, problems.node, edges.node, modules.node),
      changes.node));
  samples.load().then(draw, () => {});
  return {
    node,
    topics: {
      status: (status) => {
        const found = findProblems(status);
        verdict.update(status, found);
        tiles.update(status);
        problems.update(found);
        modules.update(status);
        edges.update(status);
      },
      sample: (sample) => {
        samples.add(sample);
        draw();
      },
      changes: changes.add,
    },
  };
}

function verdictPart() {
  const mark = h("span", { class: "verdict-mark" });
  const title = h("h2", {}, "Looking …");
  const text = h("p", {});
  const node = h("section", { class: "card verdict", "aria-live": "polite" }, mark,
    h("div", {}, title, text));
  let shown = "";
  return {
    node,
    update: (status, problems) => {
      const kind = status.state === "starting" || status.state === "stopping" ? "warn"
        : problems.some((each) => each.bad) ? "bad" : problems.length ? "warn" : "good";
      const count = countOf(problems);
      const words = status.state === "starting" ? "cloudcore is starting"
        : status.state === "stopping" ? "cloudcore is stopping"
        : status.state === "unreachable" ? "The supervisor does not answer"
        : count ? `${plural(count, "thing")} ${count === 1 ? "needs" : "need"} attention`
        : "All is well";
      attribute(node, "class", `card verdict ${kind}`);
      if (shown !== kind) put(mark, icon(kind === "good" ? "check" : "alert"));
      shown = kind;
      put(title, words);
      const ready = status.modules.filter((each) => each.state === "ready").length;
      const enabled = status.modules.filter((each) => each.enabled).length;
      const up = status.started_at ? `, up for ${span(now() - seconds(status.started_at))}` : "";
      put(text, `${ready} of ${plural(enabled, "module")} ready, ` +
        `${number(status.edges.ready)} of ${plural(status.edges.total, "edge")} ready${up}`);
    },
  };
}

function tile(label, href) {
  const value = h("div", { class: "value" }, "–");
  const node = h(href ? "a" : "div", { class: "card tile", href }, h("div", { class: "label" }, label), value);
  return {
    node,
    set: (text, of, kind = "") => {
      attribute(node, "class", `card tile ${kind}`);
      put(value, text, of ? h("small", {}, ` ${of}`) : null);
    },
  };
}

function tilesPart() {
  const modules = tile("Modules ready", "/modules");
  const edges = tile("Edges ready", "/edges");
  const devices = tile("Devices well", "/devices");
  const certificates = tile("Certificates", "/access");
  const restarts = tile("Restarts", "/crashes");
  const letters = tile("Dead letters", "/dead-letters");
  return {
    node: h("div", { class: "tiles" }, [modules, edges, devices, certificates, restarts, letters].map((each) => each.node)),
    update: (status) => {
      const enabled = status.modules.filter((each) => each.enabled);
      const ready = enabled.filter((each) => each.state === "ready").length;
      const sum = (pick) => status.modules.reduce((total, each) => total + (pick(each) ?? 0), 0);
      modules.set(number(ready), `of ${enabled.length}`, ready < enabled.length ? "bad" : "");
      const { total, ready: connected } = status.edges;
      edges.set(number(connected), `of ${number(total)}`, connected < total ? "bad" : "");
      const { total: known, not_well: ill } = status.devices;
      devices.set(number(known - ill), `of ${number(known)}`, ill ? "warn" : "");
      const { expiring } = status.certificates;
      certificates.set(number(expiring), "expiring", expiring ? "warn" : "");
      restarts.set(number(sum((each) => each.restarts)));
      const dead = sum((each) => each.inbox.dead_letters);
      letters.set(number(dead), "", dead ? "warn" : "");
    },
  };
}

function problemsPart() {
  const list = h("ul", { class: "problems" });
  const show = keyed(list, (problem) => {
    const time = since(problem.since);
    const why = h("div", { class: "why" });
    const word = state(problem.state);
    const what = h("a", { class: "what", href: problem.href });
    const node = h("li", {}, word, what, time, why);
    return {
      node,
      update: (each) => {
        setState(word, each.state || "fault");
        put(what, each.what);
        setSince(time, each.since);
        put(why, each.why);
        why.classList.toggle("hidden", !each.why);
      },
    };
  });
  const node = h("section", { class: "card hidden" }, h("h2", {}, "What needs attention"), list);
  return {
    node,
    update: (problems) => {
      node.classList.toggle("hidden", !problems.length);
      show(problems, (each) => `${each.kind} ${each.count ? "" : each.what} ${each.kind === "source" ? each.why : ""}`);
    },
  };
}

function modulesPart(samples) {
  const list = h("div", { class: "brief-modules" });
  const show = keyed(list, (module) => {
    const word = state(module.state);
    const cpu = chart("CPU", { format: percent, least: 5 });
    const memory = chart("Memory", { series: 2, format: bytes, least: 1 << 20 });
    return {
      node: h("div", { class: "brief-module" }, h("a", { class: "who", href: "/modules" }, module.name),
        word, cpu.node, memory.node),
      update: (each) => {
        setState(word, each.state);
        cpu.now(each.cpu);
        memory.now(each.rss_bytes);
      },
      draw: () => {
        samples.drawModule(cpu, module.name, "cpu");
        samples.drawModule(memory, module.name, "rss");
      },
    };
  });
  let parts = new Map();
  return {
    node: h("section", { class: "card" }, h("h2", {}, "Modules in the last hour"), list),
    update: (status) => {
      const known = parts.size;
      parts = show(status.modules.filter((each) => each.enabled), (each) => each.name);
      if (parts.size !== known) for (const part of parts.values()) part.draw();
    },
    draw: () => { for (const part of parts.values()) part.draw(); },
  };
}

function edgesPart(samples) {
  const drawing = chart("Edges ready in the last hour", { format: number, least: 1 });
  const node = h("section", { class: "card hidden" }, drawing.node);
  return {
    node,
    update: (status) => {
      node.classList.toggle("hidden", !status.edges.total);
      drawing.now(status.edges.ready);
    },
    draw: () => samples.drawEdges(drawing),
  };
}
