// Four charts with one cursor in time: the mouse, or the arrow keys, move it in all of them; dragging zooms all.
import { said, set, write } from "./figures.js";

const clockText = new Intl.DateTimeFormat([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const minuteText = new Intl.DateTimeFormat([], { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const KEYS = { ArrowLeft: -1, ArrowRight: 1, PageUp: -60, PageDown: 60, Home: -Infinity, End: Infinity };
const BYTES = Array.from({ length: 44 }, (_, n) => 2 ** n);
const DASHES = [[], [7, 4], [2, 4]];

export const clock = (t) => clockText.format(t * 1000);

export class Charts {
  constructor(panel) {
    this.panel = panel;
    this.charts = [...panel.querySelectorAll("[data-chart]")].map((figure) => ({
      figure,
      plot: figure.querySelector("[data-plot]"),
      lines: JSON.parse(figure.dataset.lines),
      least: Number(figure.dataset.least),
      drawn: null,
    }));
    this.history = null;
    this.zoom = null;
    this.setting = false;
    for (const chart of this.charts) this.prepare(chart);
    panel.querySelector("[data-unzoom]").addEventListener("click", () => this.unzoom());
    new ResizeObserver(() => this.resize()).observe(panel);
  }

  prepare(chart) {
    const { plot, figure } = chart;
    plot.tabIndex = 0;
    set(plot, "role", "slider");
    set(plot, "aria-label", `${figure.querySelector("h2").textContent}: arrow keys move through time`);
    plot.addEventListener("keydown", (event) => this.onKey(chart, event));
    plot.addEventListener("blur", () => this.point(null));
    figure.querySelector("details").addEventListener("toggle", () => this.tabulate(chart));
  }

  update(history) {
    this.history = history;
    for (const chart of this.charts) {
      if (!chart.drawn) this.draw(chart);
      chart.drawn.setData([history.t, ...chart.lines.map((line) => history[line.key])], false);
      this.tabulate(chart);
    }
    this.setRange();
    for (const chart of this.charts) this.tell(chart);
  }

  draw(chart) {
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name).trim();
    const both = chart.lines.some((line) => line.right);
    const ticks = (kind, side, scale) => ({
      scale, side, size: 62, gap: 6, font: "12px system-ui, sans-serif", stroke: colour("--soft"),
      grid: { show: side === 3, stroke: colour("--grid"), width: 1 }, ticks: { show: false }, space: 34,
      values: (_, splits) => splits.map((value) => (value === 0 ? "0" : said(kind, value))),
      ...(kind === "bytes" ? { incrs: BYTES } : {}),
    });
    const top = (least) => (_, low, high) => [0, Math.max((high ?? 0) * 1.1, least)];
    const left = chart.lines.find((line) => !line.right);
    chart.plot.replaceChildren();
    chart.drawn = new uPlot({
      ...this.size(chart),
      padding: [8, both ? 0 : 14, 0, 0],
      legend: { show: false },
      cursor: {
        sync: { key: "tenfold", scales: ["x", null] },
        drag: { x: true, y: false, dist: 6 },
        points: { size: 8 }, y: false,
        bind: { dblclick: () => () => { this.unzoom(); return null; } },
      },
      scales: { x: { time: true }, y: { range: top(chart.least) }, right: { range: top(2 ** 20) } },
      axes: [
        { font: "12px system-ui, sans-serif", stroke: colour("--soft"), grid: { show: false }, space: 70, size: 28,
          ticks: { stroke: colour("--line"), size: 4 }, values: (_, splits) => this.times(splits) },
        ticks(left.kind, 3, "y"),
        ...(both ? [ticks(chart.lines.find((line) => line.right).kind, 1, "right")] : []),
      ],
      series: [{}, ...chart.lines.map((line, number) => ({
        scale: line.right ? "right" : "y", stroke: colour(`--l${number + 1}`), width: 1.75, dash: DASHES[number],
        points: { show: false }, fill: chart.lines.length === 1 ? `${colour(`--l${number + 1}`)}1f` : undefined,
      }))],
      hooks: {
        setCursor: [() => this.tell(chart)],
        setScale: [(drawn, key) => key === "x" && !this.setting && this.zoomTo(drawn.scales.x)],
      },
    }, [[], ...chart.lines.map(() => [])], chart.plot);
  }

  times(splits) {
    const fine = splits.some((t) => t % 60 !== 0);
    return splits.map((t) => (fine ? clock(t) : minuteText.format(t * 1000)));
  }

  size(chart) {
    return { width: Math.max(200, chart.plot.clientWidth), height: chart.plot.clientHeight || 190 };
  }

  resize() {
    for (const chart of this.charts) chart.drawn?.setSize(this.size(chart));
  }

  // Colours are painted, not styled: a new theme means new charts.
  repaint() {
    for (const chart of this.charts) {
      chart.drawn?.destroy();
      chart.drawn = null;
    }
    if (this.history) this.update(this.history);
  }

  setRange() {
    const { t } = this.history;
    if (!t.length) return;
    const end = t[t.length - 1];
    const range = this.zoom ?? { min: Math.min(t[0], end - 120), max: end };
    this.setting = true;
    for (const chart of this.charts) chart.drawn.batch(() => chart.drawn.setScale("x", range));
    this.setting = false;
  }

  zoomTo({ min, max }) {
    this.zoom = { min, max };
    this.panel.querySelector("[data-zoomed]").hidden = false;
    this.setRange();
  }

  unzoom() {
    this.zoom = null;
    this.panel.querySelector("[data-zoomed]").hidden = true;
    for (const chart of this.charts) chart.drawn?.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
    if (this.history) this.setRange();
  }

  onKey(chart, event) {
    if (!this.history?.t.length || event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key === "Escape") {
      this.point(null);
      this.unzoom();
    } else if (event.key in KEYS) {
      event.preventDefault();
      const step = KEYS[event.key] * (event.shiftKey ? 10 : 1);
      const last = this.history.t.length - 1;
      this.point(Math.min(last, Math.max(0, (chart.drawn.cursor.idx ?? last + (step < 0 ? 1 : 0)) + step)));
    }
  }

  point(index) {
    for (const { drawn } of this.charts) {
      if (!drawn) continue;
      const left = index === null ? -10 : drawn.valToPos(this.history.t[index], "x");
      drawn.setCursor({ left, top: index === null ? -10 : 10 }, true, false);
    }
  }

  // The figures under the cursor; without a cursor the newest ones.
  tell(chart) {
    if (!this.history || !chart.drawn) return;
    const { t } = this.history;
    const index = chart.drawn.cursor.left >= 0 ? chart.drawn.cursor.idx : null;
    const words = chart.lines.map((line) => {
      const values = this.history[line.key];
      const value = index === null || index === undefined ? values.findLast((known) => known !== null) : values[index];
      const text = said(line.kind, value ?? null);
      write(chart.figure.querySelector(`[data-now="${line.key}"]`), text);
      return `${line.label} ${text}`;
    });
    const at = index === null || index === undefined ? "" : clock(t[index]);
    write(chart.figure.querySelector("[data-at]"), at);
    set(chart.plot, "aria-valuemin", "0");
    set(chart.plot, "aria-valuemax", String(Math.max(0, t.length - 1)));
    set(chart.plot, "aria-valuenow", String(index ?? Math.max(0, t.length - 1)));
    // Spoken only when it changes: without a cursor it would speak each second.
    set(chart.plot, "aria-valuetext", at ? `${at}: ${words.join(", ")}` : "newest");
  }

  tabulate(chart) {
    if (!this.history || !chart.figure.querySelector("details").open) return;
    const rows = new Map();
    this.history.t.forEach((t, position) => {
      const minute = Math.floor(t / 60) * 60;
      if (!rows.has(minute)) rows.set(minute, chart.lines.map(() => null));
      const row = rows.get(minute);
      chart.lines.forEach((line, column) => {
        const value = this.history[line.key][position];
        if (value !== null && (row[column] === null || value > row[column])) row[column] = value;
      });
    });
    const body = chart.figure.querySelector("[data-minutes]");
    const ordered = [...rows].sort((a, b) => b[0] - a[0]);
    while (body.rows.length > ordered.length) body.deleteRow(-1);
    ordered.forEach(([minute, values], number) => {
      const row = body.rows[number] ?? newRow(body, values.length);
      write(row.cells[0], minuteText.format(minute * 1000));
      values.forEach((value, column) => write(row.cells[column + 1], said(chart.lines[column].kind, value)));
    });
  }
}

function newRow(body, figures) {
  const row = body.insertRow();
  const head = document.createElement("th");
  set(head, "scope", "row");
  row.append(head);
  for (let n = 0; n < figures; n += 1) row.insertCell().className = "num";
  return row;
}
