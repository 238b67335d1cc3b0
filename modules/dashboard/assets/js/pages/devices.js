// Devices: their states, with the values that are desired and those that were reported.

import { h, put } from "../dom.js";
import { moment, plural, seconds } from "../format.js";
import { since, state } from "../parts.js";
import { polling } from "../polling.js";
import { search, table, tick } from "../table.js";
import { edgeLink } from "./edges.js";

const COLUMNS = [
  { title: "Device", kind: "name", value: (each) => each.name, show: (each) => `${each.namespace}/${each.name}` },
  { title: "State", kind: "state-cell", value: (each) => `${each.well ? 1 : 0} ${each.condition}`, show: (each) => stateOf(each) },
  { title: "Edge", kind: "short", value: (each) => each.node, show: (each) => (each.node ? edgeLink(each.node) : h("span", { class: "twin-differs" }, "none")) },
  { title: "Model", value: (each) => each.model, show: (each) => each.model },
  { title: "Protocol", value: (each) => each.protocol, show: (each) => each.protocol },
  { title: "API", value: (each) => each.version, show: (each) => each.version },
  { title: "Values", kind: "values", show: (each) => twins(each.twins) },
];

function stateOf(device) {
  return [
    state(device.condition),
    device.why ? h("div", { class: "small muted" }, device.why) : "",
    device.not_well_since ? h("div", { class: "small muted" }, device.fault ? "since " : "last online ", since(device.not_well_since))
      : device.online ? h("div", { class: "small muted" }, "online ", since(seconds(device.online))) : "",
  ];
}

function twins(list) {
  if (!list.length) return "";
  return h("dl", { class: "twins" }, list.map((twin) => [
    h("dt", {}, twin.property),
    h("dd", {}, value(twin)),
  ]));
}

// What was reported, and what is desired if that is something else.
function value(twin) {
  const at = Number(twin.at) ? moment(Number(twin.at) / 1000) : "";
  const reported = twin.reported === "" ? h("span", { class: "muted" }, "nothing reported") : twin.reported;
  const differs = twin.desired !== "" && twin.desired !== twin.reported;
  return [
    reported,
    differs ? h("span", { class: "twin-differs" }, ` · desired ${twin.desired}`) : "",
    at ? h("span", { class: "small muted" }, `  ${at}`) : "",
  ];
}

export function deviceTable(nothing) {
  return table({ label: "Devices", columns: COLUMNS, key: (each) => `${each.namespace}/${each.name}`, nothing, sort: 1 });
}

export function devices() {
  const asked = new URLSearchParams(location.search);
  let words = asked.get("search") ?? "";
  let only = asked.get("only") ?? "";
  const count = h("span", { class: "muted", role: "status" });
  const fault = h("p", { class: "fault-text hidden", role: "alert" });
  const list = deviceTable("No device matches.");
  const failed = (text) => {
    fault.classList.toggle("hidden", !text);
    put(fault, text);
  };
  const poll = polling(() => `devices?${new URLSearchParams({ search: words, only })}`, (found) => {
    const more = found.found > found.devices.length ? `, the first ${found.devices.length} are shown` : "";
    put(count, found.found === found.total ? plural(found.total, "device") + more
      : `${found.found} of ${plural(found.total, "device")}${more}`);
    failed(found.fault);
    list.update(found.devices);
  }, (error) => failed(error.message));
  let timer = 0;
  return {
    node: h("div", { class: "page" },
      h("div", { class: "page-head" }, h("h1", {}, "Devices"), count), fault,
      h("section", { class: "card" },
        h("div", { class: "filters" }, search("Device, edge, model or protocol", (text) => {
          words = text;
          clearTimeout(timer);
          timer = setTimeout(poll.read, 200);
        }, words), tick("Only those that are not well", (checked) => {
          only = checked ? "not-well" : "";
          poll.read();
        }, only === "not-well")), list.node)),
    close: poll.close,
  };
}
