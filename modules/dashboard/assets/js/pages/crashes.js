// Crash reports: which module, why, and the stacks.

import { segment } from "../api.js";
import { h, put } from "../dom.js";
import { moment, span } from "../format.js";
import { facts, howMany, problem, since } from "../parts.js";
import { polling } from "../polling.js";
import { table } from "../table.js";

const COLUMNS = [
  { title: "When", kind: "tight", value: (each) => each.at, show: (each) => h("a", { href: `/crashes/${segment(each.id)}` }, moment(each.at)) },
  { title: "Module", kind: "name", value: (each) => each.module, show: (each) => each.module },
  { title: "It was", value: (each) => each.state, show: (each) => each.state },
  { title: "Ended by", value: (each) => ending(each), show: ending },
  { title: "Reason", kind: "long", show: (each) => each.reason },
];

function ending(report) {
  return report.oom_killed ? "out of memory" : report.signal ?? `exit status ${report.code}`;
}

export function crashes() {
  const list = table({ label: "Crash reports", columns: COLUMNS, key: (each) => each.id, descending: true, nothing: "No module has crashed." });
  const fault = h("div", {});
  const count = h("span", { class: "muted", role: "status" });
  const poll = polling("crashes", (found) => {
    put(fault, "");
    put(count, howMany(found, "crash report"));
    list.update(found.newest);
  }, (error) => put(fault, problem(error)), 10);
  return {
    node: h("div", { class: "page" },
      h("div", { class: "page-head" }, h("h1", {}, "Crash reports"), count), fault,
      h("section", { class: "card" }, list.node)),
    topics: { changes: (news) => { if (!news.all && news.changes.some((each) => each.new === "crashed")) poll.read(); } },
    close: poll.close,
  };
}

export function crash({ names }) {
  const body = h("div", { class: "stack" });
  const poll = polling(`crashes/${segment(names.id)}`, (report) => {
    put(body, ...sections(report));
    poll.close(); // it does not change
  }, (error) => put(body, problem(error)), 10);
  return {
    node: h("div", { class: "page" },
      h("div", { class: "page-head" },
        h("h1", {}, h("a", { class: "crumb", href: "/crashes" }, "Crash reports"), h("span", { class: "crumb" }, " / "), names.id)),
      body),
    close: poll.close,
  };
}

function sections(report) {
  const block = (title, text) => text && h("section", { class: "card" }, h("h2", {}, title),
    h("pre", { class: "block", tabindex: "0" }, text));
  return [
    h("section", { class: "card" }, facts([
      ["Module", report.module],
      ["When", [moment(report.at), " (", since(report.at), ")"]],
      ["Reason", report.reason],
      ["Ended by", ending(report)],
      ["It was", `${report.state}, for ${span(report.uptime_seconds)}`],
      ["Process", String(report.pid)],
      ["Cause outside", report.temporary ? "yes: it is retried until it passes" : ""],
      ["Report", h("code", {}, report.id)],
    ])),
    block("Traceback", report.traceback),
    block("Messages in flight", report.in_hand.map((each) => JSON.stringify(each)).join("\n")),
    block("Last lines of output, with the stacks of all threads", report.stderr.join("\n")),
  ].filter(Boolean);
}
