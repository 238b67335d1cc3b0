// Requests to this page's own server.

let csrf = "";
let trusted = false;

export class Refused extends Error {}

export async function openSession() {
  const session = await get("session");
  ({ csrf, trusted } = session);
  return session;
}

export const mayControl = () => trusted;

export const get = (path) => ask(path, { method: "GET" });

export function post(path, body) {
  return ask(path, {
    method: "POST",
    headers: { "X-CSRF-Token": csrf, "Content-Type": "application/json" },
    body: JSON.stringify(body ?? {}),
  });
}

async function ask(path, options) {
  let response;
  try {
    response = await fetch(`/api/${path}`, { ...options, cache: "no-store" });
  } catch {
    throw new Refused("the dashboard does not answer; is it running?");
  }
  if (response.status === 401 && !trusted) location.assign("/login");
  if (response.status === 401 && trusted) location.assign("/login");
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Refused(answer.error ?? `status ${response.status}`);
  return answer;
}

// Encodes a name as one segment of a path.
export const segment = encodeURIComponent;
