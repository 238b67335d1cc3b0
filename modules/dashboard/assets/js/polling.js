// Reads a document again every few seconds while its page is open and the tab is seen.

import { get } from "./api.js";

export function polling(path, show, fail, seconds = 5) {
  let open = true;
  let number = 0;
  const read = async () => {
    const mine = ++number;
    try {
      const document_ = await get(typeof path === "function" ? path() : path);
      if (open && mine === number) show(document_);
    } catch (error) {
      if (open && mine === number) fail(error);
    }
  };
  const timer = setInterval(() => { if (!document.hidden) read(); }, seconds * 1000);
  read();
  return {
    read,
    close: () => {
      open = false;
      clearInterval(timer);
    },
  };
}
