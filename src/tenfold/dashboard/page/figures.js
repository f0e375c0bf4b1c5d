// Figures as a person reads them: the same words as wording.py, which a test holds together.
const NBSP = "\u00a0";

export const fixed = (value, digits) => (Math.floor(value * 10 ** digits + 0.5) / 10 ** digits).toFixed(digits);

const grouped = (value) => String(value).replace(/\B(?=(\d{3})+$)/g, ",");

function count(value) {
  if (value < 9999.5) return grouped(Math.floor(value + 0.5));
  const [scale, unit] = value < 999_500 ? [1e3, "k"] : value < 999_500_000 ? [1e6, "M"] : [1e9, "G"];
  const scaled = value / scale;
  return fixed(scaled, scaled < 99.95 ? 1 : 0) + unit;
}

function rate(value) {
  if (value === 0) return "0";
  if (value < 0.005) return "<0.01";
  if (value < 0.995) return fixed(value, 2);
  return value < 9.95 ? fixed(value, 1) : count(value);
}

function ratio(value) {
  const percent = value * 100;
  if (percent === 0) return `0${NBSP}%`;
  if (percent < 0.05) return `<0.1${NBSP}%`;
  return `${fixed(percent, percent < 9.95 ? 1 : 0)}${NBSP}%`;
}

function seconds(value) {
  if (value < 0.0009995) return `${fixed(value * 1e6, 0)}${NBSP}µs`;
  if (value < 0.9995) return `${fixed(value * 1e3, value < 0.00995 ? 1 : 0)}${NBSP}ms`;
  if (value < 59.95) return `${fixed(value, value < 9.995 ? 2 : 1)}${NBSP}s`;
  return duration(value);
}

function duration(value) {
  const whole = Math.max(0, Math.floor(value + 0.5));
  if (whole < 60) return `${whole}${NBSP}s`;
  const [minutes, hours, days] = [60, 3600, 86_400].map((unit) => Math.floor(whole / unit));
  if (minutes < 60) return `${minutes}${NBSP}min`;
  if (hours < 24) return `${hours}${NBSP}h` + (minutes % 60 ? ` ${minutes % 60}${NBSP}min` : "");
  return `${days}${NBSP}d` + (hours % 24 ? ` ${hours % 24}${NBSP}h` : "");
}

function bytes(value) {
  for (const unit of ["B", "KiB", "MiB", "GiB"]) {
    if (value < 1023.5) return `${fixed(value, unit === "B" || value >= 9.95 ? 0 : 1)}${NBSP}${unit}`;
    value /= 1024;
  }
  return `${fixed(value, 1)}${NBSP}TiB`;
}

const number = (value) => fixed(value, 2).replace(/\.?0+$/, "");
const milliseconds = (value) => seconds(value / 1e3);
const KINDS = { rate, count, number, ratio, seconds, milliseconds, duration, bytes };

export const isNumeric = (kind) => kind in KINDS;

export function said(kind, value) {
  if (value === null || value === undefined) return "–";
  if (!(kind in KINDS)) return String(value);
  if (typeof value !== "number") throw new TypeError(`${kind} is a number, not ${typeof value}`);
  return KINDS[kind](value);
}

export function reach(view, where) {
  let found = view;
  for (const name of where.split(".")) {
    found = found[name];
    if (found === undefined) throw new TypeError(`the view has no ${where}`);
  }
  return found;
}

// A thousand small writes a second would keep the browser busy: only what changed is written.
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function set(element, name, value) {
  if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}
