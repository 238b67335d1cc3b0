// Certificates and when they expire, the tokens with which edges join, and the line for a new edge.

import { mayControl, post, segment } from "../api.js";
import { h, put } from "../dom.js";
import { day, moment, now, span } from "../format.js";
import { problem, state, toast } from "../parts.js";
import { polling } from "../polling.js";
import { expiringSoon } from "../problems.js";
import { table, tick } from "../table.js";
import { confirm } from "../verbs.js";
import { edgeLink } from "./edges.js";

const left = (at) => (at > now() ? `${span(at - now())} left` : "expired");

const CERTIFICATES = [
  { title: "Certificate", kind: "name", value: (each) => each.name, show: (each) => (each.kind === "edge" ? edgeLink(each.name) : each.name) },
  { title: "Of", value: (each) => each.kind, show: (each) => each.kind },
  { title: "Expires", kind: "tight", value: (each) => each.expires, show: (each) => day(each.expires) },
  { title: "Left", kind: "tight", value: (each) => each.expires, show: (each) => left(each.expires) },
  { title: "State", value: (each) => each.state, show: (each) => state(each.state) },
  { title: "Names", kind: "long", show: (each) => (each.names ?? []).join(", ") },
];

export function access() {
  const edges = new Map();
  let own = [];
  let all = false;
  const fault = h("div", {});
  const tokenFault = h("div", {});
  const certificates = table({ label: "Certificates", columns: CERTIFICATES, key: (each) => `${each.kind} ${each.name}`, sort: 2, nothing: "There is none." });
  const tokens = table({
    label: "Tokens", key: (each) => each.id, sort: 1, descending: true, nothing: "There is no token.",
    columns: [
      { title: "Token", kind: "name", value: (each) => each.id, show: (each) => h("code", {}, each.id) },
      { title: "Made", value: (each) => each.created, show: (each) => moment(each.created) },
      { title: "Expires", value: (each) => each.expires, show: (each) => `${moment(each.expires)} (${left(each.expires)})` },
      { title: "State", value: (each) => each.state, show: (each) => state(each.state) },
      { title: "Verbs", quiet: true, kind: "tight", show: (each) => (each.state === "revoked" ? "" : revokeButton(each, () => tokenPoll.read())) },
    ],
  });
  const draw = () => {
    const connected = [...edges.values()].filter((edge) => edge.certificate)
      .map((edge) => ({ name: edge.name, kind: "edge", expires: edge.certificate, state: expiryState(edge.certificate) }));
    const found = [...own, ...connected];
    certificates.update(all ? found : found.filter((each) => each.kind !== "edge" || expiringSoon(each.expires)));
  };
  const certificatePoll = polling("certificates", (found) => {
    own = found;
    put(fault, "");
    draw();
  }, (error) => put(fault, problem(error)), 30);
  const tokenPoll = polling("tokens", (found) => {
    put(tokenFault, "");
    tokens.update(found);
  }, (error) => put(tokenFault, problem(error)), 10);
  return {
    node: h("div", { class: "page" },
      h("div", { class: "page-head" }, h("h1", {}, "Access")),
      joinCard(() => tokenPoll.read()),
      h("section", { class: "card" }, h("div", { class: "card-head" }, h("h2", {}, "Tokens")), tokenFault, tokens.node),
      h("section", { class: "card" },
        h("div", { class: "card-head" }, h("h2", {}, "Certificates"),
          tick("Those of all connected edges", (checked) => {
            all = checked;
            draw();
          })),
        fault, certificates.node)),
    topics: {
      edges: (news) => {
        if (news.all) edges.clear();
        for (const edge of news.all ?? news.changed) edges.set(edge.name, edge);
        for (const name of news.removed ?? []) edges.delete(name);
        draw();
      },
    },
    close: () => {
      certificatePoll.close();
      tokenPoll.close();
    },
  };
}

function expiryState(at) {
  return at < now() ? "expired" : expiringSoon(at) ? "expiring" : "good";
}

function joinCard(made) {
  const shown = h("div", {});
  return h("section", { class: "card" }, h("div", { class: "card-head" },
    h("h2", {}, "Let a new edge join"),
    h("button", {
      class: "button primary", type: "button", disabled: !mayControl(),
      onclick: () => confirm({
        title: "Make a token?",
        text: "Whoever has the line with it can join as any node, until the token expires in 24 hours or is revoked.",
        yes: "Make a token",
        act: async () => {
          const line = await post("join");
          put(shown, joinLine(line));
          made();
        },
      }),
    }, "Make the line")),
  h("p", { class: "muted" }, "The line to type on the edge node. It has a new token, which is shown once."), shown);
}

function joinLine({ command, expires }) {
  return h("div", {}, h("div", { class: "join-line" }, h("pre", { class: "block", tabindex: "0" }, command),
    h("button", {
      class: "button", type: "button",
      onclick: async () => {
        try {
          await navigator.clipboard.writeText(command);
          toast("Copied");
        } catch {
          toast("The browser does not let this page copy; select the line instead", true);
        }
      },
    }, "Copy")), h("p", { class: "small muted" }, `Good until ${moment(expires)}.`));
}

function revokeButton(token, done) {
  return h("button", {
    class: "button small danger", type: "button", disabled: !mayControl(), "aria-label": `Revoke ${token.id}`,
    onclick: () => confirm({
      title: `Revoke ${token.id}?`, yes: "Revoke", danger: true,
      text: "Nobody can join with it any more. Edges that have joined with it stay joined.",
      act: async () => {
        await post(`tokens/${segment(token.id)}/revoke`);
        done();
        return `${token.id} is revoked`;
      },
    }),
  }, "Revoke");
}
