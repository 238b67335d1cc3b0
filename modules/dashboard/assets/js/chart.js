// A small chart of values over time, as SVG.

import { attribute, h, put, svg } from "./dom.js";
import { clock } from "./format.js";

const WIDTH = 300;
const HEIGHT = 52;

// `format` words a value, `least` is the least value of the top edge.
export function chart(label, { series = 1, format, least = 0 }) {
  const area = svg("path", { class: "area" });
  const trace = svg("path", { class: "trace" });
  const mark = svg("line", { class: "mark", y1: 0, y2: HEIGHT, visibility: "hidden" });
  const current = h("span", { class: "now number" }, "–");
  const note = h("span", { class: "note" });
  const drawing = svg("svg", {
    viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": label,
  }, svg("line", { class: "base", x1: 0, x2: WIDTH, y1: HEIGHT, y2: HEIGHT }), area, trace, mark);
  const node = h("figure", { class: `chart series-${series}` },
    h("figcaption", {}, h("span", {}, label), note, current), drawing);
  let points = [];

  drawing.addEventListener("pointermove", (event) => {
    const box = drawing.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * WIDTH;
    const near = points.reduce(
      (best, point) => (!best || Math.abs(point.x - x) < Math.abs(best.x - x) ? point : best), null);
    if (!near) return;
    attribute(mark, "x1", String(near.x));
    attribute(mark, "x2", String(near.x));
    mark.setAttribute("visibility", "visible");
    put(note, `${format(near.value)} at ${clock(near.at)}`);
  });
  drawing.addEventListener("pointerleave", () => {
    mark.setAttribute("visibility", "hidden");
    put(note, "");
  });

  // Draws columns: times and values, of which null is a gap; `seconds` is the span that is shown.
  function draw(at, values, seconds, step) {
    const end = Math.max(Date.now() / 1000, at.at(-1) ?? 0);
    const top = Math.max(least, ...values.filter((value) => value !== null)) * 1.08 || 1;
    points = [];
    values.forEach((value, index) => {
      const x = WIDTH * (1 - (end - at[index]) / seconds);
      if (value !== null && x >= 0) {
        points.push({ x, y: HEIGHT * (1 - value / top), value, at: at[index] });
      }
    });
    const runs = split(points, step * 3);
    attribute(trace, "d", runs.map(line).join(""));
    attribute(area, "d", runs.map((run) =>
      `${line(run)}L${run.at(-1).x.toFixed(1)} ${HEIGHT}L${run[0].x.toFixed(1)} ${HEIGHT}Z`).join(""));
    const peak = points.reduce((most, point) => Math.max(most, point.value), 0);
    attribute(drawing, "aria-label", points.length
      ? `${label}: now ${format(points.at(-1).value)}, at most ${format(peak)} in this span`
      : `${label}: nothing recorded yet`);
  }

  return { node, draw, now: (value) => put(current, format(value)) };
}

// Splits points where nothing was recorded for longer than `gap` seconds.
function split(points, gap) {
  const runs = [];
  for (const point of points) {
    const run = runs.at(-1);
    if (run && point.at - run.at(-1).at <= gap) run.push(point);
    else runs.push([point]);
  }
  return runs;
}

function line(run) {
  const path = run.map(({ x, y }, index) => `${index ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`);
  return run.length === 1 ? `${path[0]}h1` : path.join("");
}
