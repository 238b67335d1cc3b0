// Verbs: what they do is said first, and has to be confirmed.

import { mayControl, post, segment } from "./api.js";
import { h } from "./dom.js";
import { toast } from "./parts.js";

// Asks whether to do something; `act` is called on yes, and its failure is shown in the dialog.
export function confirm({ title, text, yes, danger = false, act }) {
  const fault = h("p", { class: "fault", role: "alert" });
  const go = h("button", { class: danger ? "button danger filled" : "button primary", type: "submit" }, yes);
  const no = h("button", { class: "button", type: "button", onclick: () => dialog.close() }, "Cancel");
  const form = h("form", { method: "dialog" },
    h("h2", { id: "confirm-title" }, title), h("p", {}, text), fault,
    h("div", { class: "buttons" }, no, go));
  const dialog = h("dialog", { "aria-labelledby": "confirm-title" }, form);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    go.disabled = true;
    go.textContent = `${yes} …`;
    fault.textContent = "";
    try {
      const done = await act();
      dialog.close();
      if (done) toast(done);
    } catch (error) {
      fault.textContent = error.message;
      go.disabled = false;
      go.textContent = yes;
    }
  });
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  no.focus();
}

const MODULE_VERBS = {
  restart: ["Restart", "Its process is replaced. Messages and connections wait meanwhile."],
  stop: ["Stop", "It stays stopped until somebody starts it; its channel keeps the messages for it."],
  start: ["Start", "Its process is started."],
  enable: ["Enable", "It runs until the next reload or restart of cloudcore, as if modules.enabled named it."],
  disable: ["Disable", "It does not run until the next reload or restart of cloudcore."],
};

// The verbs that a module in this state can be given.
export function verbsOf(module) {
  if (!module.enabled) return ["enable"];
  if (["stopped", "failed"].includes(module.state)) return ["start", "disable"];
  return ["restart", "stop", "disable"];
}

export function verbButton(name, verb) {
  const [word, text] = MODULE_VERBS[verb];
  const danger = ["stop", "disable"].includes(verb);
  const warning = name === "dashboard" && verb !== "start" && verb !== "enable"
    ? `${text} This page is served by it.` : text;
  return h("button", {
    class: danger ? "button small danger" : "button small",
    type: "button",
    disabled: !mayControl(),
    "aria-label": `${word} ${name}`,
    onclick: () => confirm({
      title: `${word} ${name}?`, text: warning, yes: word, danger,
      act: async () => {
        await post(`modules/${segment(name)}/${verb}`);
        return `${name}: ${verb} done`;
      },
    }),
  }, word);
}

export function reloadButton() {
  return h("button", {
    class: "button", type: "button", disabled: !mayControl(),
    onclick: () => confirm({
      title: "Reload the configuration?",
      text: "Changed modules restart. A configuration with faults changes nothing.",
      yes: "Reload",
      act: async () => {
        const changes = await post("reload");
        const said = Object.entries(changes)
          .filter(([, names]) => Array.isArray(names) && names.length)
          .map(([what, names]) => `${what.replaceAll("_", " ")}: ${names.join(", ")}`);
        return said.length ? `Reloaded. ${said.join("; ")}` : "Reloaded; nothing has changed";
      },
    }),
  }, "Reload configuration");
}
