// All pages: their addresses, and what makes each of them.

import { modules } from "./pages/modules.js";
import { overview } from "./pages/overview.js";

const at = (path) => new RegExp(`^${path}/?$`);

export const PAGES = [
  { path: "/", title: "Overview", icon: "overview", pattern: /^\/$/, make: overview },
  { path: "/modules", title: "Modules", icon: "modules", pattern: at("/modules"), make: modules },
];
