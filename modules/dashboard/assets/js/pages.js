// All pages: their addresses, and what makes each of them.

import { h } from "./dom.js";
import { access } from "./pages/access.js";
import { crash, crashes } from "./pages/crashes.js";
import { devices } from "./pages/devices.js";
import { edge } from "./pages/edge.js";
import { edges } from "./pages/edges.js";
import { events } from "./pages/events.js";
import { letter, letters } from "./pages/letters.js";
import { logs } from "./pages/logs.js";
import { modules } from "./pages/modules.js";
import { overview } from "./pages/overview.js";

const at = (path) => new RegExp(`^${path}/?$`);

// A page without a title is not in the navigation; `of` is the one that is marked there.
export const PAGES = [
  { path: "/", title: "Overview", icon: "overview", pattern: /^\/$/, make: overview },
  { path: "/modules", title: "Modules", icon: "modules", pattern: at("/modules"), make: modules },
  { path: "/edges", title: "Edges", icon: "edges", pattern: at("/edges"), make: edges },
  { of: "/edges", pattern: at("/edges/(?<name>[^/]+)"), make: edge },
  { path: "/devices", title: "Devices", icon: "devices", pattern: at("/devices"), make: devices },
  { path: "/events", title: "Events", icon: "events", pattern: at("/events"), make: events },
  { path: "/crashes", title: "Crash reports", icon: "crashes", pattern: at("/crashes"), make: crashes },
  { of: "/crashes", pattern: at("/crashes/(?<id>[^/]+)"), make: crash },
  { path: "/dead-letters", title: "Dead letters", icon: "letters", pattern: at("/dead-letters"), make: letters },
  { of: "/dead-letters", pattern: at("/dead-letters/(?<id>[^/]+)"), make: letter },
  { path: "/logs", title: "Logs", icon: "logs", pattern: at("/logs"), make: logs },
  { path: "/access", title: "Access", icon: "access", pattern: at("/access"), make: access },
];

// What an address shows that is none of them.
export const NO_PAGE = { title: "No such page", make: () => ({
  node: h("div", { class: "page" },
    h("div", { class: "page-head" }, h("h1", {}, "No such page")),
    h("p", {}, `There is no page at ${location.pathname}. `, h("a", { href: "/" }, "The overview"), " says whether all is well.")),
}) };
