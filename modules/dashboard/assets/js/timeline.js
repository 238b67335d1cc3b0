// What changed, for people: the changes of one thing that follow each other are one line, and so
// are things that changed alike at the same time.

import { attribute, h, keyed, put } from "./dom.js";
import { clock, now, number, plural, tone } from "./format.js";
import { setState, state } from "./parts.js";

const SPAN = 3600;
const SHOWN = 40;
const NAMED = 3;
// Seconds between changes that are one line: of one thing, and of several.
const CHAIN = 30;
const TOGETHER = 60;
const LONGEST = 5;

// Returns lines, the newest first: {kind, names, states, at, reasons}.
export function fold(changes) {
  const groups = [];
  const open = new Map();
  for (const chain of chains(changes)) {
    const key = `${chain.kind} ${chain.states.join(" ")} ${chain.reasons.join(" ")}`;
    const group = open.get(key);
    if (group && chain.at - group.at <= TOGETHER) {
      group.names.push(chain.name);
      group.at = chain.at;
    } else {
      const made = { ...chain, names: [chain.name], began: chain.at };
      open.set(key, made);
      groups.push(made);
    }
  }
  return groups.sort((a, b) => b.at - a.at);
}

function chains(changes) {
  const all = [];
  const last = new Map();
  for (const change of changes) {
    const key = `${change.kind} ${change.name}`;
    const chain = last.get(key);
    // A chain ends when the thing is well again: what comes then is another story.
    if (chain && change.at - chain.at <= CHAIN && tone(change.old) !== "good" && chain.states.at(-1) === change.old) {
      chain.states.push(change.new);
      chain.at = change.at;
      if (change.reason && !chain.reasons.includes(change.reason)) chain.reasons.push(change.reason);
    } else {
      const made = {
        kind: change.kind, name: change.name, at: change.at,
        states: [change.old, change.new], reasons: change.reason ? [change.reason] : [],
      };
      last.set(key, made);
      all.push(made);
    }
  }
  return all.sort((a, b) => a.at - b.at);
}

// What was known before is not younger than what comes now: the clock may have been set back.
function notAfter(known, news) {
  const first = Math.min(...news.map((each) => each.at));
  return known.map((each) => (each.at > first ? { ...each, at: first } : each));
}

export function timeline() {
  const list = h("ol", { class: "timeline" });
  const nothing = h("p", { class: "empty" }, "Nothing has changed.");
  let changes = [];
  const show = keyed(list, makeLine);
  return {
    node: h("section", { class: "card" },
      h("div", { class: "card-head" }, h("h2", {}, "What changed in the last hour"), h("a", { href: "/events" }, "All")),
      nothing, list),
    add: (news) => {
      const edge = now() - SPAN;
      changes = [...(news.all ? [] : notAfter(changes, news.changes)), ...news.changes].filter((each) => each.at > edge);
      show(fold(changes).slice(0, SHOWN), (line) => `${line.began} ${line.kind} ${line.names[0]} ${line.states.join(" ")}`);
      nothing.classList.toggle("hidden", changes.length > 0);
    },
  };
}

function makeLine(line) {
  const time = h("time", { "data-fixed": true });
  const who = h("span", {});
  const word = state("");
  const last = line.states.at(-1);
  const path = line.states.length > LONGEST
    ? `${line.states[0]} → … (${number(line.states.length - 1)} changes) → ` : `${line.states.slice(0, -1).join(" → ")} → `;
  let known = 0;
  return {
    node: h("li", {}, time, h("div", {}, who, h("span", { class: "arrow" }, ` ${path}`), word,
      line.reasons.length ? h("span", { class: "reason" }, line.reasons.join("; ")) : null)),
    update: (each) => {
      attribute(time, "datetime", new Date(each.at * 1000).toISOString());
      put(time, clock(each.at));
      setState(word, last);
      if (known === each.names.length) return;
      known = each.names.length;
      put(who, ...names(each));
    },
  };
}

function names({ kind, names: all }) {
  const links = [...new Set(all)].slice(0, NAMED).flatMap((name, index) => [index ? ", " : "", link(kind, name)]);
  const more = new Set(all).size - NAMED;
  return more > 0 ? [h("b", {}, plural(more + NAMED, kind)), " (", ...links, ` and ${number(more)} more)`] : links;
}

export function link(kind, name) {
  const href = kind === "edge" ? `/edges/${encodeURIComponent(name)}`
    : kind === "device" ? `/devices?search=${encodeURIComponent(name)}` : "/modules";
  return h("a", { href }, name);
}
