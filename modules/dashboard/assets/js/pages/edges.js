// Edges: all of them, filtered by name, state, protocol, process and replica.

import { h, put } from "../dom.js";
import { day, plural } from "../format.js";
import { expiringSoon } from "../problems.js";
import { since, state } from "../parts.js";
import { choice, search, table, tick } from "../table.js";

export function edgeLink(name) {
  return h("a", { href: `/edges/${encodeURIComponent(name)}` }, name);
}

const COLUMNS = [
  { title: "Name", kind: "name", value: (edge) => edge.name, show: (edge) => edgeLink(edge.name) },
  { title: "State", kind: "state-cell", value: (edge) => edge.state, show: (edge) => [state(edge.state), edge.why ? h("div", { class: "small muted" }, edge.why) : ""] },
  { title: "Since", kind: "tight", value: (edge) => edge.since, show: (edge) => since(edge.since) },
  { title: "Version", value: (edge) => edge.version, show: (edge) => kubeedge(edge.version) },
  { title: "Protocol", value: (edge) => edge.protocol, show: (edge) => edge.protocol },
  { title: "Address", value: (edge) => edge.address, show: (edge) => edge.address },
  { title: "Waiting", kind: "right", value: (edge) => edge.queue, show: (edge) => String(edge.queue) },
  { title: "Certificate", kind: "tight", value: (edge) => edge.certificate, show: (edge) => certificate(edge.certificate) },
  { title: "Held by", value: (edge) => holder(edge), show: (edge) => holder(edge) },
];

// The process of CloudHub that holds it; of several cloudcores, the one before it.
function holder(edge) {
  return [edge.replica, edge.process].filter(Boolean).join(" / ");
}

export function kubeedge(version) {
  return /kubeedge-(v[\w.]+)/.exec(version)?.[1] ?? version;
}

function certificate(at) {
  if (!at) return "";
  return h("span", { class: expiringSoon(at) ? "twin-differs" : "" }, day(at));
}

const KINDS = { state: "State", protocol: "Protocol", process: "Process", replica: "Replica" };
const HOLDERS = new Set(["process", "replica"]); // most clouds have one, and nothing to choose
const FILTERS = ["name", "only", ...Object.keys(KINDS)];

export function edges() {
  const all = new Map();
  const asked = new URLSearchParams(location.search);
  const wanted = Object.fromEntries(FILTERS.map((kind) => [kind, asked.get(kind) ?? ""]));
  const count = h("span", { class: "muted", role: "status" });
  const fault = h("p", { class: "fault-text hidden", role: "alert" });
  const list = table({ label: "Edges", columns: COLUMNS, key: (edge) => edge.name, nothing: "No edge matches." });
  const filter = (kind) => (value) => {
    wanted[kind] = value;
    const query = new URLSearchParams(Object.entries(wanted).filter(([, each]) => each)).toString();
    history.replaceState(null, "", query ? `/edges?${query}` : "/edges"); // which can be sent to somebody
    list.first();
    draw();
  };
  const parts = Object.entries(KINDS).map(([kind, title]) => ({ kind, ...choice(title, [], filter(kind)) }));
  const draw = () => {
    const words = wanted.name.toLowerCase();
    const found = [...all.values()].filter((edge) => edge.name.toLowerCase().includes(words) &&
      (wanted.only !== "not-ready" || edge.state !== "ready") &&
      parts.every(({ kind }) => !wanted[kind] || edge[kind] === wanted[kind]));
    put(count, found.length === all.size ? plural(all.size, "edge") : `${found.length} of ${plural(all.size, "edge")}`);
    list.update(found);
  };
  const choices = () => {
    const values = (kind) => [...new Set([...all.values()].map((edge) => edge[kind]))].filter(Boolean).sort();
    for (const part of parts) {
      const found = values(part.kind);
      if (part.shown === found.join()) continue;
      part.shown = found.join();
      part.set(found, wanted[part.kind]);
      part.node.classList.toggle("hidden", HOLDERS.has(part.kind) && found.length < 2 && !wanted[part.kind]);
    }
  };
  return {
    node: h("div", { class: "page" },
      h("div", { class: "page-head" }, h("h1", {}, "Edges"), count), fault,
      h("section", { class: "card" },
        h("div", { class: "filters" }, search("Name", filter("name"), wanted.name), parts.map((part) => part.node),
          tick("Only those that are not ready", (checked) => filter("only")(checked ? "not-ready" : ""), wanted.only === "not-ready")),
        list.node)),
    topics: {
      edges: (news) => {
        if (news.all) all.clear();
        for (const edge of news.all ?? news.changed) all.set(edge.name, edge);
        for (const name of news.removed ?? []) all.delete(name);
        fault.classList.toggle("hidden", !news.fault);
        put(fault, news.fault);
        choices();
        draw();
      },
    },
  };
}
