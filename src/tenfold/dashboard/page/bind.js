// Fills what the server marked: figures, bars, sparklines, levels. All text goes in as text, never as HTML.
import { fixed, reach, said, set, write } from "./figures.js";
import { fill } from "./tables.js";

export function bind(panel, view) {
  for (const element of panel.querySelectorAll("[data-figure]")) {
    write(element, said(element.dataset.kind, reach(view, element.dataset.figure)));
  }
  for (const bar of panel.querySelectorAll("[data-bar]")) {
    const value = reach(view, bar.dataset.bar);
    const whole = bar.dataset.of ? reach(view, bar.dataset.of) : 1;
    const share = value !== null && whole ? Math.min(100, Math.max(0, (value / whole) * 100)) : 0;
    set(bar.firstElementChild, "width", `${fixed(share, 1)}%`);
  }
  for (const path of panel.querySelectorAll("[data-spark]")) set(path, "d", spark(view.history[path.dataset.spark]));
  for (const card of panel.querySelectorAll("[data-mark]")) {
    set(card, "data-level", view.status.marks[card.dataset.mark] ?? "");
  }
  for (const element of panel.querySelectorAll("[data-since]")) {
    const since = reach(view, element.dataset.since);
    write(element, said("duration", since === null ? null : view.now_s - since));
  }
  for (const element of panel.querySelectorAll("[data-trouble]")) {
    element.hidden = reach(view, element.dataset.trouble) === null;
  }
  for (const table of panel.querySelectorAll("[data-table]")) fill(table, view);
}

// As drawing.py: of each stretch the largest, because a peak is what one looks for; a gap where nothing is known.
function spark(values, width = 120, height = 26, points = 60) {
  let few = values;
  if (values.length > points) {
    const edge = (n) => Math.floor((values.length * n) / points);
    few = Array.from({ length: points }, (_, n) => {
      const known = values.slice(edge(n), edge(n + 1)).filter((value) => value !== null);
      return known.length ? Math.max(...known) : null;
    });
  }
  const top = Math.max(...few.map((value) => value ?? 0), 0) * 1.1 || 1;
  let penDown = false;
  return few
    .map((value, n) => {
      const step = value === null ? "" : `${penDown ? "L" : "M"}${fixed((n / Math.max(1, few.length - 1)) * width, 1)} ` +
        `${fixed(height - (value / top) * height, 1)}${penDown ? "" : "h0"}`;
      penDown = value !== null;
      return step;
    })
    .join("");
}
