// The frame: navigation, the connection, and which page is shown.

import { openSession, mayControl, post } from "./api.js";
import { attribute, h, put } from "./dom.js";
import { Live } from "./live.js";
import { icon, problem, toast } from "./parts.js";
import { NO_PAGE, PAGES } from "./pages.js";
import { countOf, findProblems } from "./problems.js";

const state = { status: null };
const connection = h("span", {});
const dot = h("span", { class: "dot warn" });
const counts = new Map();
const version = h("span", {});
const banner = h("div", { class: "banner hidden", role: "alert" });
const main = h("main", { id: "main", tabindex: "-1" });
const links = PAGES.filter((page) => page.title).map((page) => {
  const count = h("span", { class: "count hidden" });
  counts.set(page.path, count);
  return h("a", { href: page.path }, icon(page.icon), page.title, count);
});
let page = null;

const live = new Live((connected) => {
  attribute(dot, "class", connected ? "dot good" : "dot bad");
  put(connection, connected ? "Live" : "No connection");
  banner.classList.toggle("hidden", connected);
  if (!connected) put(banner, "The dashboard does not answer; what is shown may be old. Trying again …");
});

function frame() {
  document.getElementById("shell").append(
    h("header", { class: "side" },
      h("a", { class: "brand", href: "/" }, h("img", { src: "/assets/icon.svg", alt: "", width: 28, height: 28 }), "cloudcore"),
      h("nav", { class: "nav", "aria-label": "Pages" }, links),
      h("div", { class: "side-foot" },
        h("div", { class: "connection", role: "status" }, dot, connection),
        version,
        h("div", { class: "side-buttons" }, themeButton(), mayControl() ? logoutButton() : loginLink()))),
    h("div", {}, main));
}

function themeButton() {
  const themes = ["auto", "light", "dark"];
  const words = h("span", {});
  const show = (theme) => {
    if (theme === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    put(words, `Theme: ${theme}`);
  };
  let chosen = themes.includes(localStorage.theme) ? localStorage.theme : "auto";
  show(chosen);
  return h("button", {
    class: "button small", type: "button",
    onclick: () => {
      chosen = themes[(themes.indexOf(chosen) + 1) % themes.length];
      localStorage.theme = chosen;
      show(chosen);
    },
  }, words);
}

function logoutButton() {
  return h("button", {
    class: "button small", type: "button",
    onclick: async () => {
      try {
        await post("logout");
        location.assign("/login");
      } catch (error) {
        toast(error.message, true);
      }
    },
  }, "Log out");
}

const loginLink = () => h("a", { class: "button small", href: "/login" }, "Log in");

// The name in an address; one that somebody has typed may be no encoding of anything.
function decoded(value) {
  try {
    return decodeURIComponent(value);
  } catch {
    return value;
  }
}

function match(path) {
  for (const each of PAGES) {
    const found = each.pattern.exec(path);
    if (found) return [each, Object.fromEntries(
      Object.entries(found.groups ?? {}).map(([name, value]) => [name, decoded(value)]))];
  }
  return [NO_PAGE, {}];
}

// Shows the page of the present address.
function show() {
  page?.close?.();
  const [found, names] = match(location.pathname);
  const current = found.of ?? found.path;
  for (const link of links) {
    if (link.getAttribute("href") === current) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${names.name ?? names.id ?? found.title} · cloudcore`;
  const shown = { open: go, names };
  try {
    page = found.make(shown);
  } catch (error) {
    page = { node: problem(error) };
  }
  put(main, banner, page.node);
  scrollTo(0, 0);
  live.show({ ...page.topics, status: (status) => update(status) });
  if (state.status) page.topics?.status?.(state.status);
}

function update(status) {
  state.status = status;
  page?.topics?.status?.(status);
  put(version, status.version ? `Version ${status.version}` : "");
  const problems = findProblems(status);
  const of = (kind) => problems.filter((each) => each.kind === kind);
  setCount("/modules", countOf(of("module")), "bad");
  setCount("/edges", status.edges.total - status.edges.ready, "bad");
  setCount("/devices", status.devices.not_well, "warn");
  setCount("/access", status.certificates.expiring, "warn");
  setCount("/dead-letters", status.modules.reduce((sum, each) => sum + each.inbox.dead_letters, 0), "warn");
}

function setCount(path, number, kind) {
  const node = counts.get(path);
  if (!node) return;
  node.classList.toggle("hidden", !number);
  node.classList.toggle(kind, Boolean(number));
  put(node, number ? String(number) : "");
}

function go(path) {
  if (path !== location.pathname + location.search) history.pushState(null, "", path);
  show();
  main.focus({ preventScroll: true });
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[href]");
  if (!link || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey) return;
  const target = new URL(link.href);
  if (target.origin !== location.origin || target.pathname === "/login" || link.classList.contains("skip")) return;
  event.preventDefault();
  go(target.pathname + target.search);
});
addEventListener("popstate", show);

await openSession();
frame();
show();
