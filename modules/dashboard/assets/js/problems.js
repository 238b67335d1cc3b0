// What is not well, since when and why: from the status document. A problem may stand for several
// things (`count`): of many edges the first ones are named, and the rest is a number.

import { day, now, number, plural } from "./format.js";

const SOON = 30 * 86400;
const URGENT = 7 * 86400;
const NAMED = 6;

export function findProblems(status) {
  return [...modules(status), ...edges(status), ...devices(status), ...certificates(status),
    ...letters(status), ...sources(status)];
}

export const countOf = (problems) => problems.reduce((sum, each) => sum + (each.count ?? 1), 0);

function modules(status) {
  return status.modules.filter((module) => module.enabled).flatMap((module) => {
    const href = "/modules";
    if (module.state !== "ready") {
      return [{
        kind: "module", what: module.name, state: module.state, since: module.since,
        why: module.reason || lastExit(module), href,
        bad: ["crashed", "failed", "backoff"].includes(module.state),
      }];
    }
    const trouble = module.reason || module.details?.trouble; // suspended; a full disk
    if (trouble) {
      return [{
        kind: "module", what: module.name, state: "in trouble", since: null, why: trouble, href, bad: true,
      }];
    }
    const waiting = module.details?.waiting_for;
    return waiting ? [{
      kind: "module", what: module.name, state: "waiting", since: module.since,
      why: `waits for ${waiting}`, href, bad: false,
    }] : [];
  });
}

function lastExit(module) {
  return module.last_exit?.reason ?? "";
}

// The first problems of a kind, and one that stands for the others.
function named(problems, total, { noun, href, bad }) {
  const shown = total > NAMED ? problems.slice(0, NAMED - 1) : problems;
  const rest = total - shown.length;
  return rest <= 0 ? shown : [...shown, {
    kind: noun, what: `${number(rest)} more ${noun}s`, state: "not well", since: null, why: "", href, bad, count: rest,
  }];
}

function edges(status) {
  const { total, ready, troubled } = status.edges;
  return named(troubled.map((edge) => ({
    kind: "edge", what: edge.name, state: edge.state, since: edge.since, why: edge.why,
    href: `/edges/${encodeURIComponent(edge.name)}`, bad: edge.state !== "unknown",
  })), total - ready, { noun: "edge", href: "/edges?only=not-ready", bad: true });
}

function devices(status) {
  const { not_well: total, troubled } = status.devices;
  return named(troubled.map((device) => ({
    kind: "device", what: device.name, state: device.state, since: device.since, why: device.why,
    href: `/devices?search=${encodeURIComponent(device.name)}`, bad: false,
  })), total, { noun: "device", href: "/devices?only=not-well", bad: false });
}

function certificates(status) {
  const { expiring, soonest } = status.certificates;
  return named(soonest.map((each) => ({
    kind: "certificate", what: each.kind === "edge" || each.kind === "node" ? `the certificate of ${each.name}` : `the certificate ${each.name}`,
    state: each.expires < now() ? "expired" : "expiring", since: null,
    why: `${each.expires < now() ? "it expired on" : "it expires on"} ${day(each.expires)}; ${REMEDIES[each.kind] ?? REMEDIES.server}`,
    href: "/access", bad: each.expires - now() < URGENT,
  })), expiring, { noun: "certificate", href: "/access", bad: false });
}

const REMEDIES = {
  ca: "every edge has to join again by then",
  admin: "`cloudcore certs renew admin` makes another one",
  server: "`cloudcore certs renew server` makes another one",
  node: "`cloudcore certs issue` makes another one",
  edge: "edges of KubeEdge 1.19 and later renew theirs by themselves, others need `cloudcore certs issue`",
};

function letters(status) {
  return status.modules.filter((module) => module.inbox.dead_letters).map((module) => ({
    kind: "letter", what: module.name, state: "dead letters", since: null,
    why: `${plural(module.inbox.dead_letters, "message")} set aside: each of them crashed the module again and again`,
    href: "/dead-letters", bad: false,
  }));
}

function sources(status) {
  const faults = [status.fault, status.edges.fault, status.certificates.fault].filter(Boolean);
  return faults.map((fault) => ({
    kind: "source", what: "What is shown is incomplete", state: "", since: null, why: fault,
    href: "/logs", bad: true,
  }));
}

export function expiringSoon(at) {
  return at !== null && at !== undefined && at - now() < SOON;
}
