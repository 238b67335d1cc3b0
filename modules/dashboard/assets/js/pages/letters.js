// Dead letters: messages that crashed their module, to be replayed or dropped.

import { mayControl, post, segment } from "../api.js";
import { h, put } from "../dom.js";
import { bytes, moment } from "../format.js";
import { facts, howMany, problem } from "../parts.js";
import { polling } from "../polling.js";
import { table } from "../table.js";
import { confirm } from "../verbs.js";

const COLUMNS = [
  { title: "When", kind: "tight", value: (each) => each.at, show: (each) => h("a", { href: `/dead-letters/${segment(each.id)}` }, moment(each.at)) },
  { title: "Channel", kind: "name", value: (each) => each.channel, show: (each) => each.channel },
  { title: "Message", kind: "long", show: (each) => `${each.operation} ${each.resource}`.trim() || "it cannot be decoded" },
  { title: "Size", kind: "right", value: (each) => each.size, show: (each) => bytes(each.size) },
  { title: "Reason", kind: "long", show: (each) => each.reason },
];

export function letters({ open }) {
  const fault = h("div", {});
  const count = h("span", { class: "muted", role: "status" });
  const columns = [...COLUMNS, { title: "Verbs", quiet: true, kind: "tight", show: (each) => h("div", { class: "buttons" }, verbs(each, () => poll.read())) }];
  const list = table({ label: "Dead letters", columns, key: (each) => each.id, descending: true, nothing: "No message was set aside." });
  const poll = polling("dead-letters", (found) => {
    put(fault, "");
    put(count, howMany(found, "dead letter"));
    list.update(found.newest);
  }, (error) => put(fault, problem(error)), 10);
  return {
    node: h("div", { class: "page" },
      h("div", { class: "page-head" }, h("h1", {}, "Dead letters"), count), fault,
      h("p", { class: "muted" }, "A message that crashed its module again and again is set aside here, so that the module goes on."),
      h("section", { class: "card" }, list.node)),
    close: poll.close,
    open,
  };
}

function verbs(letter, done) {
  const path = `dead-letters/${segment(letter.id)}`;
  const button = (word, text, verb, danger) => h("button", {
    class: danger ? "button small danger" : "button small", type: "button", disabled: !mayControl(),
    "aria-label": `${word} ${letter.id}`,
    onclick: () => confirm({
      title: `${word} ${letter.id}?`, text, yes: word, danger,
      act: async () => {
        await post(`${path}/${verb}`);
        done();
        return `${letter.id}: ${verb === "drop" ? "dropped" : `sent to ${letter.channel}`}`;
      },
    }),
  }, word);
  return [
    button("Replay", `The message goes to ${letter.channel} again, as if for the first time. It may crash it again.`, "replay", false),
    button("Drop", "The message is deleted for good. Nobody has handled it.", "drop", true),
  ];
}

export function letter({ names, open }) {
  const body = h("div", { class: "stack" });
  const poll = polling(`dead-letters/${segment(names.id)}`, (found) => {
    poll.close();
    put(body,
      h("section", { class: "card" },
        facts([
          ["Channel", found.channel], ["Set aside", moment(found.at)], ["Reason", found.reason],
          ["Processes that died with it", String(found.deliveries)], ["Operation", found.operation],
          ["Resource", found.resource], ["Source", found.source], ["Group", found.group],
          ["Message", found.message_id], ["Size", bytes(found.size)],
        ])),
      h("section", { class: "card" }, h("div", { class: "card-head" }, h("h2", {}, "Content"),
        h("div", { class: "buttons" }, verbs(found, () => open("/dead-letters")))),
        h("pre", { class: "block", tabindex: "0" }, found.content)));
  }, (error) => put(body, problem(error)), 10);
  return {
    node: h("div", { class: "page" },
      h("div", { class: "page-head" },
        h("h1", {}, h("a", { class: "crumb", href: "/dead-letters" }, "Dead letters"), h("span", { class: "crumb" }, " / "), names.id)),
      body),
    close: poll.close,
  };
}
