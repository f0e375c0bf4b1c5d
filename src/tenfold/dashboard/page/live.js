// The one stream of the page: comes back by itself, rests while nobody looks, and says when the session is over.
const STALE_MS = 5000;
const REST_MS = 10_000;

export function live(onView, onLink) {
  let stream = null;
  let view = null;
  let tries = 0;
  let retry = 0;
  let watch = 0;
  let rest = 0;

  const heard = () => {
    tries = 0;
    clearTimeout(watch);
    watch = setTimeout(lost, STALE_MS);
  };

  const take = (next, whole) => {
    heard();
    if (whole || !view) view = { ...next, span: Math.max(900, spanOf(next.history.t)) };
    else view = { ...next, span: view.span, history: joined(view.history, next.history, view.span) };
    onLink("live");
    onView(view);
  };

  function open() {
    clearTimeout(retry);
    stream?.close();
    stream = new EventSource("/live");
    stream.addEventListener("all", (event) => take(JSON.parse(event.data), true));
    stream.addEventListener("new", (event) => take(JSON.parse(event.data), false));
    stream.addEventListener("trouble", (event) => {
      heard();
      onLink("trouble", JSON.parse(event.data).sentence);
    });
    stream.onerror = lost;
    watch = setTimeout(lost, STALE_MS);
  }

  // The browser's own retry gives up for good on some errors; ours asks why, and goes on.
  async function lost() {
    close();
    if (document.hidden) return;
    onLink("waiting");
    const answer = await fetch("/view.json", { method: "HEAD", cache: "no-store" }).catch(() => null);
    if (answer?.status === 401) onLink("ended");
    else {
      tries += 1;
      clearTimeout(retry);
      retry = setTimeout(open, Math.min(5000, 500 * tries) + Math.random() * 300);
    }
  }

  function close() {
    clearTimeout(watch);
    clearTimeout(retry);
    stream?.close();
    stream = null;
  }

  document.addEventListener("visibilitychange", () => {
    clearTimeout(rest);
    if (document.hidden) rest = setTimeout(close, REST_MS);
    else if (!stream) open();
  });
  addEventListener("pagehide", close);
  addEventListener("pageshow", (event) => event.persisted && open());
  open();
}

const spanOf = (t) => (t.length ? t[t.length - 1] - t[0] : 0);

function joined(old, added, span) {
  const end = added.t.length ? added.t[added.t.length - 1] : (old.t[old.t.length - 1] ?? 0);
  const from = old.t.findIndex((t) => t > end - span - 1);
  const kept = from < 0 ? old.t.length : from;
  return Object.fromEntries(Object.keys(old).map((name) => [name, [...old[name].slice(kept), ...added[name]]]));
}
