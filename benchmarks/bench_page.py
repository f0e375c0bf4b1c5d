"""What does the page weigh, how soon does it show figures, and what does a tick cost the agent? Edge."""

from __future__ import annotations

import gzip
import re
import statistics
from dataclasses import replace

from tests.browser import Browser, driver, window
from tests.dashboard.sample import NOW_S, sample, traffic
from tests.dashboard.served import Served

from benchmarks.report import heading, per_call_us, spread
from tenfold.dashboard.assets import Assets
from tenfold.dashboard.frames import as_json, newest
from tenfold.dashboard.inputs import Inputs, Route
from tenfold.dashboard.render import Renderer
from tenfold.dashboard.view import view

ROUNDS, CALLS = 7, 30
# Runs before the page's own scripts: notes when the first live figures are there.
WATCH = """
new MutationObserver(() => {
  if (window.liveMs === undefined && document.querySelector('.link')?.dataset.link === 'live') {
    window.liveMs = performance.now();
  }
}).observe(document, {subtree: true, childList: true, attributes: true});
"""


def main() -> None:
    heading("What does the page weigh, and how soon does it show figures?")
    weigh()
    look()
    tick("15 routes", sample())
    routes = [Route("GET", f"/route/{n}/{{id}}", traffic(1 + n, 0.01, 0.02)) for n in range(500)]
    tick("500 routes", replace(sample(), routes=routes))


def weigh() -> None:
    assets = Assets()
    html = Renderer(assets).page(view(sample()), "", True, False)
    weights = {"the HTML": len(gzip.compress(html.encode(), 6))}
    for address in sorted(set(re.findall(r'"(/assets/[^"]+)"', html))):
        _, _, version, name = address.split("/", 3)
        asset = assets.get(version, name)
        assert asset is not None
        weights[name] = len(asset.gzipped)
    for name, weight in sorted(weights.items(), key=lambda item: -item[1]):
        print(f"  {name:28} {weight / 1024:6.1f} KB gzipped")
    print(f"  {'all of it':28} {sum(weights.values()) / 1024:6.1f} KB gzipped (budget 60)\n")


def look() -> None:
    page = Served(period_s=1.0)
    try:
        with driver() as url, window(url) as browser:
            browser.devtools("Page.addScriptToEvaluateOnNewDocument", source=WATCH)
            first, live = zip(*(once(page, browser) for _ in range(ROUNDS + 1)), strict=True)
    finally:
        page.stop()
    print(f"  first figures painted (server's HTML): {spread(first[1:], 'ms', 0)}, with an empty cache")
    print(f"  first live figures (stream):           {spread(live[1:], 'ms', 0)}\n")


def once(page: Served, browser: Browser) -> tuple[float, float]:
    """Milliseconds from the click on the link to the first paint, and to the first live figures."""
    browser.devtools("Network.clearBrowserCache")
    browser.open(page.link)
    browser.run(
        "return new Promise((done) => { const look = () => window.liveMs ? done() : setTimeout(look, 5); look(); })"
    )
    paint = browser.run("return performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0")
    return float(paint), float(browser.run("return window.liveMs"))


def tick(name: str, inputs: Inputs) -> None:
    """What one second costs while pages are open, and what the first paint costs once a page."""
    made = view(inputs)
    renderer = Renderer(Assets())
    costs = {
        "make the view": lambda _: view(inputs),
        "write what is new": lambda _: as_json(newest(made, NOW_S - 1)),
        "write all (a page that joins)": lambda _: as_json(made),
        "render the HTML (a first paint)": lambda _: renderer.page(made, "", True, False),
    }
    for what, call in costs.items():
        rounds = [per_call_us(call, CALLS) / 1000 for _ in range(5)]
        print(f"  {name}: {what:32} {statistics.median(rounds):6.2f} ms")
    print(f"  {name}: {'a tick on the wire':32} {len(as_json(newest(made, NOW_S - 1))) / 1024:6.1f} KB")


if __name__ == "__main__":
    main()
