// What is not well, since when and why: from the status document.

const SOON = 30 * 86400;

export function findProblems(status) {
  return [...modules(status), ...edges(status), ...devices(status), ...letters(status), ...sources(status)];
}

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

function edges(status) {
  return status.edges.troubled.map((edge) => ({
    kind: "edge", what: edge.name, state: edge.state, since: edge.since, why: edge.why,
    href: `/edges/${encodeURIComponent(edge.name)}`, bad: edge.state !== "unknown",
  }));
}

function devices(status) {
  return status.devices.troubled.map((device) => ({
    kind: "device", what: device.name, state: device.state, since: device.since, why: device.why,
    href: "/devices", bad: false,
  }));
}

function letters(status) {
  return status.modules.filter((module) => module.inbox.dead_letters).map((module) => ({
    kind: "letter", what: module.name, state: "dead letters", since: null,
    why: `${module.inbox.dead_letters} set aside: each of these messages crashed the module again and again`,
    href: "/dead-letters", bad: false,
  }));
}

function sources(status) {
  const faults = [status.fault, status.edges.fault].filter(Boolean);
  return faults.map((fault) => ({
    kind: "source", what: "What is shown is incomplete", state: "", since: null, why: fault,
    href: "/logs", bad: true,
  }));
}

export function expiringSoon(at) {
  return at !== null && at !== undefined && at - Date.now() / 1000 < SOON;
}
