// Tables keep their rows: a row is found again by its key, so that focus and selection survive a tick.
import { fixed, isNumeric, reach, said, set, write } from "./figures.js";

export function fill(table, view) {
  const facts = reach(view, table.dataset.table);
  const columns = [...table.tHead.rows[0].cells].map((head) => head.dataset);
  const key = (fact) => table.dataset.identity.split(" ").map((field) => fact[field]).join(" ");
  const ordered = sorted(facts, table.dataset.sort, table.dataset.dir !== "up");
  const shown = "all" in table.dataset ? ordered : ordered.slice(0, Number(table.dataset.shown));
  const body = table.tBodies[0];
  const old = new Map([...body.rows].map((row) => [row.dataset.row, row]));
  const largest = {};
  for (const column of columns) {
    if ("share" in column) largest[column.key] = Math.max(0, ...facts.map((fact) => fact[column.key] ?? 0));
  }
  const blank = table.nextElementSibling.content;
  shown.forEach((fact, position) => {
    const name = key(fact);
    let row = old.get(name);
    old.delete(name);
    if (!row) {
      row = blank.querySelector("tr").cloneNode(true);
      row.dataset.row = name;
    }
    set(row, "data-tone", String(fact.tone ?? ""));
    columns.forEach((column, number) => cell(row.cells[number], column, fact, largest[column.key]));
    // Moving a row that stands right already would take the focus from it.
    if (body.rows[position] !== row) body.insertBefore(row, body.rows[position] ?? null);
  });
  for (const gone of old.values()) gone.remove();
  aside(table, view, facts.length);
}

function cell(cell, column, fact, largest) {
  const value = fact[column.key];
  if (value === undefined) throw new TypeError(`a row has no ${column.key}`);
  write(cell.querySelector(".main"), said(column.kind, value));
  if (column.sub) {
    write(cell.querySelector(".sub"), column.sub.replace(/\{(\w+)\}/g, (_, name) => String(fact[name] ?? "")));
  }
  if (column.kind === "state") {
    set(cell.querySelector(".state"), "data-tone", fact.tone);
    set(cell.querySelector("use"), "href", `#i-${fact.tone}`);
  }
  if ("share" in column) {
    set(cell.querySelector("rect"), "width", `${largest > 0 ? fixed(((value ?? 0) / largest) * 100, 1) : 0}%`);
  }
}

// What is not known comes last, either way.
function sorted(facts, by, descending) {
  if (!by) return facts;
  const known = facts.filter((fact) => fact[by] !== null);
  known.sort((a, b) => (a[by] < b[by] ? -1 : a[by] > b[by] ? 1 : 0) * (descending ? -1 : 1));
  return [...known, ...facts.filter((fact) => fact[by] === null)];
}

function aside(table, view, count) {
  const panel = table.closest("[data-panel]");
  const empty = panel.querySelector(".empty");
  empty.hidden = count > 0;
  const part = table.dataset.table.split(".")[0];
  write(empty, view.missing.includes(part) ? empty.dataset.missing : empty.dataset.empty);
  const more = panel.querySelector("[data-more]");
  if (more) {
    more.hidden = "all" in table.dataset || count <= Number(table.dataset.shown);
    write(more.querySelector("[data-count]"), String(count));
    panel.querySelector("[data-capped]").hidden = !view.routes_capped;
  }
}

// Headings are links that work without this script; with it they sort in place and keep the address in step.
export function sortable(table, again) {
  if (!table.dataset.sort) return;
  const note = () => {
    const address = new URL(location.href);
    address.searchParams.set("sort", table.dataset.sort);
    address.searchParams.set("dir", table.dataset.dir);
    if ("all" in table.dataset) address.searchParams.set("routes", "all");
    history.replaceState(null, "", address);
    again();
  };
  table.tHead.addEventListener("click", (event) => {
    const head = event.target.closest("a")?.closest("th");
    if (!head) return;
    event.preventDefault();
    const { key, kind } = head.dataset;
    const turn = table.dataset.dir === "down" ? "up" : "down";
    table.dataset.dir = table.dataset.sort === key ? turn : isNumeric(kind) ? "down" : "up";
    table.dataset.sort = key;
    for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", table.dataset.dir === "down" ? "descending" : "ascending");
    note();
  });
  table.closest("[data-panel]").querySelector("[data-more] a").addEventListener("click", (event) => {
    event.preventDefault();
    table.dataset.all = "";
    note();
    // The link goes away; the keyboard goes on where the new rows begin.
    const first = table.tBodies[0].rows[Number(table.dataset.shown)];
    if (first) {
      first.tabIndex = -1;
      first.focus();
    }
  });
}
