// The stream of what is live: one for the page, with the topics that it shows. It is closed while
// the tab is hidden, and opened anew afterwards.

export class Live {
  constructor(onConnection) {
    this.onConnection = onConnection;
    this.handlers = new Map();
    this.source = null;
    this.timer = 0;
    document.addEventListener("visibilitychange", () => this.open());
  }

  // Shows topics: {topic: handler}; those of the page before are dropped.
  show(handlers) {
    this.handlers = new Map(Object.entries(handlers));
    this.open();
  }

  open() {
    this.source?.close();
    this.source = null;
    clearTimeout(this.timer);
    if (document.hidden) return;
    const topics = [...this.handlers.keys()].map(encodeURIComponent).join(",");
    const source = new EventSource(`/api/live?topics=${topics}`);
    this.source = source;
    source.onopen = () => this.onConnection(true);
    source.onerror = () => this.failed(source);
    for (const [topic, handler] of this.handlers) {
      source.addEventListener(topic, (event) => handler(JSON.parse(event.data)));
    }
  }

  // The browser connects again by itself, but not after an answer that is an error.
  failed(source) {
    if (source !== this.source) return;
    this.onConnection(false);
    if (source.readyState === EventSource.CLOSED) {
      this.timer = setTimeout(() => this.reopen(), 2000);
    }
  }

  async reopen() {
    try {
      const session = await fetch("/api/session", { cache: "no-store" });
      if (session.status === 401) return location.assign("/login");
    } catch { /* it is not back yet */ }
    return this.open();
  }
}
