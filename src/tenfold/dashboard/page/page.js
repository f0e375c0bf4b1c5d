// Puts the page together. Each panel is filled on its own: one that breaks says so, and the others go on.
import { acting, alerts, counts } from "./alerts.js";
import { bind } from "./bind.js";
import { Charts, clock } from "./charts.js";
import { set, write } from "./figures.js";
import { live } from "./live.js";
import { sortable } from "./tables.js";

const root = document.documentElement;
const one = (selector) => document.querySelector(selector);
const panels = [...document.querySelectorAll("[data-panel]")];
const chartsPanel = one('[data-panel="charts"]');
const charts = chartsPanel && globalThis.uPlot ? new Charts(chartsPanel) : null;
const alertsPanel = one('[data-panel="alerts"]:not(.broken)');
const WORDS = { live: "Live", waiting: "No word since", ended: "Ended", paused: "Paused at", trouble: "No figures since" };
let view = null;
let paused = false;
let link = "still";

function paint() {
  if (!view) return;
  guarded(one(".status"), status);
  for (const panel of panels) {
    guarded(panel, () => fill(panel));
  }
  write(one("[data-clock]"), clock(view.now_s));
}

function fill(panel) {
  if (panel === chartsPanel) charts?.update(view.history);
  else if (panel === alertsPanel) alerts(panel, view);
  else bind(panel, view);
}

function guarded(panel, work) {
  let note = panel.querySelector(":scope > .broken");
  try {
    work();
    note?.remove();
  } catch (error) {
    if (!note) {
      note = document.createElement("p");
      note.className = "broken";
      note.textContent = `This panel cannot be shown at the moment (${error.message}). The others go on.`;
      panel.prepend(note);
    }
  }
}

function status() {
  const { state, sentence, problems } = view.status;
  if (root.dataset.state !== state) {
    // Spoken when the state changes, not each second: a sentence that counts seconds would never be silent.
    write(one("[data-announce]"), sentence);
    root.dataset.state = state;
    set(one("[data-status-icon]"), "href", `#i-${state}`);
    const icon = one('link[rel="icon"]');
    icon.href = icon.href.replace(/[a-z]+\.svg$/, `${state}.svg`);
    document.title = `${state[0].toUpperCase()}${state.slice(1)} · ${view.platform}`;
  }
  write(one(".status h1"), sentence);
  counts(one("[data-alert-counts]"), view);
  const list = one("[data-problems]");
  const others = problems.slice(1); // the sentence says the first
  list.hidden = problems.length < 3;
  while (list.children.length > others.length) list.lastElementChild.remove();
  others.forEach((problem, number) => {
    write(list.children[number] ?? list.appendChild(document.createElement("li")), problem);
  });
}

function onLink(state, sentence) {
  link = state;
  const shown = paused && state === "live" ? "paused" : state;
  set(one(".link"), "data-link", shown);
  write(one("[data-link-word]"), WORDS[shown]);
  const notice = one("[data-notice]");
  const told = {
    waiting: "No word from the agent. The figures below are old; trying again.",
    ended: "This page's session has ended. Run “tenfold status” for a new link, and open it in this browser.",
    trouble: sentence,
  }[state];
  notice.hidden = !told;
  write(notice, told ?? "");
  root.toggleAttribute("data-stale", Boolean(told));
}

function pauseButton() {
  const button = one("[data-pause]");
  button.addEventListener("click", () => {
    paused = !paused;
    set(button, "aria-pressed", String(paused));
    set(button.querySelector("use"), "href", paused ? "#i-play" : "#i-pause");
    write(button.querySelector("span"), paused ? "Go on" : "Pause");
    onLink(link);
    if (!paused) paint();
  });
}

function themeButton() {
  const names = { "": "auto", light: "light", dark: "dark" };
  const button = one("[data-theme-next]");
  const show = () => write(button.querySelector("span"), `Colours: ${names[root.dataset.theme ?? ""]}`);
  button.addEventListener("click", () => {
    const order = Object.keys(names);
    const next = order[(order.indexOf(root.dataset.theme ?? "") + 1) % order.length];
    if (next) root.dataset.theme = next;
    else delete root.dataset.theme;
    try {
      localStorage.setItem("tenfold-theme", next);
    } catch { /* storage is off: for this page only */ }
    show();
    charts?.repaint();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => charts?.repaint());
  show();
}

pauseButton();
themeButton();
if (alertsPanel) acting(alertsPanel);
for (const table of document.querySelectorAll("[data-table]")) sortable(table, paint);
live((next) => {
  view = next;
  if (!paused) paint();
}, onLink);
