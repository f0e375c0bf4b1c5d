// The alerts: items keep their place in the document, so that a form that is being filled in survives every tick.
import { set, write } from "./figures.js";

let known = null;

export function alerts(panel, view) {
  const { shown } = view.alerts;
  items(panel, "[data-alerts]", "alert", shown.items, (element, made) => {
    set(element, "data-tone", made.tone);
    element.toggleAttribute("data-quiet", made.quiet);
    set(element.querySelector(".state"), "data-tone", made.tone);
    set(element.querySelector(".state use"), "href", `#i-${made.tone}`);
    write(element.querySelector("[data-level]"), made.level);
    write(element.querySelector("[data-note]"), made.note);
    element.querySelector("[data-runbook]").hidden = !made.runbook;
    write(element.querySelector("code"), made.runbook);
    for (const part of element.querySelectorAll("[data-can]")) part.hidden = !made[part.dataset.can];
  });
  items(panel, "[data-silences]", "silence", shown.silences, (element, made) => {
    const button = element.querySelector("button");
    if (button) set(button, "aria-label", `End the silence of ${made.title}`);
  });
  const untold = panel.querySelector("[data-untold]");
  untold.hidden = !shown.untold;
  write(untold, shown.untold ?? "");
  panel.toggleAttribute("data-none", !shown.items.length && !shown.silences.length && !shown.untold);
  panel.querySelector("[data-silences-title]").hidden = !shown.silences.length;
  const empty = panel.querySelector("[data-alerts-empty]");
  empty.hidden = shown.items.length > 0;
  write(empty, view.missing.includes("alerts") ? "The agent cannot tell at the moment." : "No alert.");
  announce(panel, shown);
}

// In the status line: how many there are, each severity with a shape of its own.
export function counts(place, view) {
  const { counts: all } = view.alerts.shown;
  all.forEach(({ count, text }, number) => {
    const chip = place.children[number];
    chip.hidden = !count;
    write(chip.querySelector("span"), text);
  });
  place.hidden = all.every(({ count }) => !count);
}

function items(panel, where, kind, all, fill) {
  const list = panel.querySelector(where);
  const old = new Map([...list.children].map((element) => [element.dataset[kind], element]));
  all.forEach((made, position) => {
    let element = old.get(made.id);
    old.delete(made.id);
    if (!element) {
      element = panel.querySelector(`[data-${kind}-blank]`).content.firstElementChild.cloneNode(true);
      element.dataset[kind] = made.id;
      for (const field of element.querySelectorAll('[name="id"]')) field.value = made.id;
      const link = element.querySelector("a.plain");
      if (link) link.href = `/alerts?id=${encodeURIComponent(made.id)}`;
    }
    write(element.querySelector(".main"), made.title);
    write(element.querySelector("[data-sub]"), made.sub);
    fill(element, made);
    if (list.children[position] !== element) list.insertBefore(element, list.children[position] ?? null);
  });
  for (const gone of old.values()) gone.remove();
}

// What is new or over is spoken once; figures that move are not.
function announce(panel, shown) {
  const now = new Map(shown.items.filter(({ tone }) => tone !== "off").map(({ id, level, title }) => [id, `${level}: ${title}`]));
  if (known) {
    const begun = [...now].filter(([id]) => !known.has(id)).map(([, said]) => said);
    const over = [...known].filter(([id]) => !now.has(id)).map(([, said]) => `over: ${said}`);
    if (begun.length || over.length) write(panel.querySelector("[data-alerts-announce]"), [...begun, ...over].join("; "));
  }
  known = now;
}

// A form is sent beside the page, which stays as it is: zoom, order and what is open elsewhere.
export function acting(panel) {
  panel.addEventListener("submit", async (event) => {
    const form = event.target.closest("[data-act]");
    if (!form) return;
    event.preventDefault();
    const button = form.querySelector("button");
    button.disabled = true;
    const told = await fetch(form.action, { method: "POST", body: new URLSearchParams(new FormData(form)), headers: { Accept: "application/json" } })
      .then((answer) => answer.json())
      .catch(() => ({ ok: false, error: "No word from the agent; nothing may have been done." }));
    button.disabled = false;
    say(form, told.ok ? "" : [told.error, told.hint && `Try: ${told.hint}`].filter(Boolean).join(" "));
    if (!told.ok) return;
    const details = form.closest("details");
    if (!details) return;
    form.reset();
    details.open = false;
    // The summary may go away with what it offered; the keyboard stays near.
    const item = form.closest("li");
    item.tabIndex = -1;
    item.focus();
  });
}

function say(form, sentence) {
  let line = form.querySelector(".trouble");
  if (!line) {
    line = document.createElement("p");
    line.className = "trouble";
    set(line, "role", "alert");
    form.append(line);
  }
  write(line, sentence);
  line.hidden = !sentence;
}
