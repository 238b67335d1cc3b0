// One edge: its pods, its devices, what it has not acknowledged, its certificate and versions.

import { segment } from "../api.js";
import { h, put } from "../dom.js";
import { ago, day, number, plural, span, now } from "../format.js";
import { empty, facts, problem, setState, since, state } from "../parts.js";
import { polling } from "../polling.js";
import { expiringSoon } from "../problems.js";
import { table } from "../table.js";
import { deviceTable } from "./devices.js";
import { kubeedge } from "./edges.js";

const PODS = [
  { title: "Pod", kind: "name", value: (pod) => pod.name, show: (pod) => `${pod.namespace}/${pod.name}` },
  { title: "Phase", value: (pod) => pod.phase, show: (pod) => state(pod.phase) },
  { title: "Ready", kind: "right", value: (pod) => pod.ready, show: (pod) => pod.ready },
  { title: "Restarts", kind: "right", value: (pod) => pod.restarts, show: (pod) => String(pod.restarts) },
  { title: "Created", value: (pod) => pod.created, show: (pod) => since(pod.created) },
  { title: "Why", kind: "long", show: (pod) => pod.why },
];

const CONDITIONS = [
  { title: "Condition", kind: "name", value: (each) => each.type, show: (each) => each.type },
  { title: "Status", value: (each) => each.status, show: (each) => each.status },
  { title: "Since", kind: "tight", value: (each) => each.since, show: (each) => since(each.since) },
  { title: "Reason", kind: "long", show: (each) => each.message || each.reason },
];

const UNACKNOWLEDGED = [
  { title: "Object", kind: "name", value: (each) => each.name, show: (each) => [each.namespace, each.name].filter(Boolean).join("/") },
  { title: "Type", value: (each) => each.type, show: (each) => each.type },
  { title: "Sent by", value: (each) => each.controller, show: (each) => each.controller },
  { title: "Why", kind: "long", show: (each) => each.why },
];

export function edge({ names }) {
  const { name } = names;
  const word = h("span", {});
  const fault = h("div", {});
  const session = h("div", {});
  const machine = h("div", {});
  const pods = table({ label: "Pods", columns: PODS, key: (pod) => `${pod.namespace}/${pod.name}`, nothing: "No pod is bound to it." });
  const devices = deviceTable("It has no device.");
  const waiting = table({
    label: "Not acknowledged", columns: UNACKNOWLEDGED,
    key: (each) => `${each.type} ${each.namespace}/${each.name}`, nothing: "It has acknowledged all that it was sent.",
  });
  const conditions = table({ label: "Conditions", columns: CONDITIONS, key: (each) => each.type, nothing: "The Kubernetes API has no Node for it." });
  const body = h("div", { class: "stack hidden" },
    h("div", { class: "columns" },
      h("section", { class: "card" }, h("h2", {}, "Connection"), session),
      h("section", { class: "card" }, h("h2", {}, "Machine"), machine)),
    ...[["Pods", pods], ["Devices", devices], ["Not acknowledged", waiting], ["Conditions", conditions]]
      .map(([title, part]) => h("section", { class: "card" }, h("h2", {}, title), part.node)));
  const poll = polling(`edges/${segment(name)}`, (found) => {
    body.classList.remove("hidden");
    put(fault, ...found.faults.map((text) => problem(new Error(text))));
    setState(word, found.edge.state);
    put(session, connection(found));
    put(machine, described(found));
    pods.update(found.pods);
    devices.update(found.devices);
    waiting.update(found.unacknowledged);
    conditions.update(found.node?.conditions ?? []);
  }, (error) => put(fault, problem(error)));
  return {
    node: h("div", { class: "page" },
      h("div", { class: "page-head" },
        h("h1", {}, h("a", { class: "crumb", href: "/edges" }, "Edges"), h("span", { class: "crumb" }, " / "), name), word),
      fault, body),
    close: poll.close,
  };
}

function connection({ edge: found, session }) {
  const pairs = [["State since", found.since ? since(found.since) : ""], ["Why", found.why],
    ["Replica", found.replica]];
  if (!session) return pairs.some(([, value]) => value) ? facts(pairs) : empty("It is not connected.");
  return facts([
    ...pairs,
    ["Connected", since(session.since)],
    ["From", session.address],
    ["Protocol", session.protocol],
    ["Last sign of life", since(session.keepalive)],
    ["Messages", `${number(session.messages_in)} from it, ${number(session.messages_out)} to it`],
    ["Waiting to be sent", plural(session.queue_messages, "message")],
    ["Certificate", expiry(session.certificate)],
    ["Process", session.process],
  ]);
}

function expiry({ common_name: owner, expires }) {
  const text = `${owner}, until ${day(expires)} (${expires > now() ? `${span(expires - now())} left` : `expired ${ago(expires)}`})`;
  return h("span", { class: expiringSoon(expires) ? "twin-differs" : "" }, text);
}

function described({ node }) {
  if (!node) return empty("The Kubernetes API has no Node for it.");
  const { info } = node;
  return facts([
    ["KubeEdge", kubeedge(info.kubeletVersion)],
    ["Kubelet", info.kubeletVersion],
    ["System", info.osImage],
    ["Kernel", [info.kernelVersion, info.architecture].filter(Boolean).join(", ")],
    ["Container runtime", info.containerRuntimeVersion],
    ["Addresses", node.addresses.join(", ")],
    ["Registered", since(node.created)],
    ["Scheduling", node.unschedulable ? "cordoned: it gets no new pods" : ""],
  ]);
}
