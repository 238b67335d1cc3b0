// The samples of the last hour and day, for charts; new samples are appended as they come.

import { get } from "./api.js";

export const SPANS = { hour: 3600, day: 86400 };

export class History {
  constructor() {
    this.span = "hour";
    this.columns = { at: [], ready: [], edges: [], modules: {}, step: 10 };
  }

  async load(span = this.span) {
    this.span = span;
    this.columns = await get(`history?span=${span}`);
  }

  add(sample) {
    if (this.span !== "hour") return;
    const { at, ready, edges, modules } = this.columns;
    if (sample.at === at.at(-1)) return;
    while (at.length && at.at(-1) > sample.at) this.drop(-1); // the clock was set back
    for (const name of Object.keys(sample.modules)) {
      modules[name] ??= Object.fromEntries(
        ["cpu", "rss", "fill"].map((kind) => [kind, at.map(() => null)]));
    }
    at.push(sample.at);
    ready.push(sample.ready);
    edges.push(sample.edges);
    for (const [name, kinds] of Object.entries(modules)) {
      for (const [kind, values] of Object.entries(kinds)) {
        values.push(sample.modules[name]?.[kind] ?? null);
      }
    }
    if (at.length > 400) this.drop(0);
  }

  // Drops the first sample (0), or the last one (-1).
  drop(place) {
    const { at, ready, edges, modules } = this.columns;
    for (const list of [at, ready, edges, ...Object.values(modules).flatMap(Object.values)]) list.splice(place, 1);
  }

  drawModule(drawing, name, kind) {
    const { at, modules, step } = this.columns;
    drawing.draw(at, modules[name]?.[kind] ?? [], SPANS[this.span], step);
  }

  drawEdges(drawing) {
    drawing.draw(this.columns.at, this.columns.ready, SPANS[this.span], this.columns.step);
  }
}
