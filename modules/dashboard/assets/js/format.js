// Times, sizes and states as people read them.

export function span(seconds) {
  if (!Number.isFinite(seconds)) return "–";
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86400) {
    const minutes = Math.floor((s % 3600) / 60);
    return `${Math.floor(s / 3600)} h${s < 36000 && minutes ? ` ${minutes} min` : ""}`;
  }
  return `${Math.floor(s / 86400)} d`;
}

export const now = () => Date.now() / 1000;

export function ago(at) {
  return at === null || at === undefined ? "" : `${span(now() - at)} ago`;
}

export function seconds(time) {
  return typeof time === "string" ? Date.parse(time) / 1000 : time;
}

export function clock(at) {
  return new Date(at * 1000).toLocaleTimeString([], { hour12: false });
}

export function moment(at) {
  if (at === null || at === undefined) return "";
  const then = new Date(at * 1000);
  const today = then.toDateString() === new Date().toDateString();
  return today
    ? clock(at)
    : then.toLocaleString([], { dateStyle: "medium", timeStyle: "short", hour12: false });
}

export function day(at) {
  return new Date(at * 1000).toLocaleDateString([], { dateStyle: "medium" });
}

export function bytes(count) {
  if (count === null || count === undefined) return "–";
  for (const [size, unit] of [[2 ** 30, "GiB"], [2 ** 20, "MiB"], [2 ** 10, "KiB"]]) {
    if (count >= size) {
      const value = count / size;
      return `${value >= 100 ? Math.round(value) : value.toFixed(1)} ${unit}`;
    }
  }
  return `${count} B`;
}

export function percent(value) {
  if (value === null || value === undefined) return "–";
  return `${value >= 10 || value === 0 ? Math.round(value) : value.toFixed(1)} %`;
}

export const number = (value) => (value ?? 0).toLocaleString("en").replaceAll(",", " ");

export function plural(count, noun) {
  return `${number(count)} ${noun}${count === 1 ? "" : "s"}`;
}

const TONES = {
  good: ["ready", "running", "good", "True", "Running", "Succeeded", "default", "online"],
  warn: ["starting", "stopping", "backoff", "unknown", "no node", "not accepted", "unhealthy", "expiring", "Pending", "degraded",
    "dead letters", "waiting"],
  bad: ["crashed", "failed", "not ready", "not well", "disconnected", "expired", "unreachable", "Failed", "False",
    "foreign", "offline"],
};

export function tone(state) {
  return Object.keys(TONES).find((name) => TONES[name].includes(state)) ?? "idle";
}
