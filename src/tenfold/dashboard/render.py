"""The page as HTML, so that it is useful before and without any script. Edge."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from tenfold.dashboard import drawing
from tenfold.dashboard.alerts import LASTS, TONES
from tenfold.dashboard.assets import PAGE, Assets
from tenfold.dashboard.frames import as_json
from tenfold.dashboard.tables import BY_NAME, rows
from tenfold.dashboard.wording import said

log = logging.getLogger(__name__)
PANELS = ("alerts", "golden", "charts", "backends", "routes", "shards", "services", "host", "agent")


class Renderer:
    """Templates of the page; a panel that cannot be made leaves the others standing."""

    def __init__(self, assets: Assets, folder: Path = PAGE, *, acts: bool = False) -> None:
        """`acts`: whether the page has forms."""
        self._jinja = Environment(
            loader=FileSystemLoader(folder),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._jinja.globals.update(
            asset=assets.address,
            said=said,
            charts=drawing.CHARTS,
            drawing=drawing,
            tables=BY_NAME,
            rows=rows,
            reach=reach,
            lasts=LASTS,
            tones=TONES,
            acts=acts,
        )
        self._jinja.filters["attribute"] = lambda lines: as_json([asdict(line) for line in lines])
        self._jinja.filters["utc"] = lambda at_s: datetime.fromtimestamp(at_s, UTC).strftime("%H:%M")

    def page(self, view: Mapping[str, Any], sort: str, descending: bool, everything: bool, form_token: str = "") -> str:
        """The whole page. sort: key of a column of the routes; everything: all routes, not the first dozen;
        form_token: what its forms hold."""
        if sort not in {column.key for column in BY_NAME["routes"].columns}:
            sort, descending = "", True
        facts = {
            "view": view,
            "sort": sort or BY_NAME["routes"].sort,
            "descending": descending,
            "everything": everything,
            "form_token": form_token,
            "figure": _figure_of(view),
            "bar": _bar_of(view),
            "clock": datetime.fromtimestamp(view["now_s"], UTC),
        }
        panels = {name: self._panel(name, facts) for name in PANELS}
        return self._jinja.get_template("index.html").render(facts, panels=panels)

    def alert(self, view: Mapping[str, Any], name: str, form_token: str) -> str | None:
        """The page of one alert; None where there is no such."""
        made = next((item for item in view["alerts"]["shown"]["items"] if item["id"] == name), None)
        if made is None:
            return None
        return self._jinja.get_template("alert.html").render(view=view, made=made, form_token=form_token)

    def notice(self, title: str, sentence: str, back: bool = False) -> str:
        """A page that only says something; `back`: with a way back to the page."""
        return self._jinja.get_template("notice.html").render(title=title, sentence=sentence, back=back)

    def _panel(self, name: str, facts: Mapping[str, Any]) -> Markup:
        try:
            made = self._jinja.get_template(f"panels/{name}.html").render(facts)
        except Exception:
            log.exception("panel %s cannot be shown", name)
            made = self._jinja.get_template("panels/broken.html").render(name=name)
        return Markup(made)  # noqa: S704 - made by autoescaping templates


def _figure_of(view: Mapping[str, Any]) -> Callable[[str, str], Markup]:
    def figure(where: str, kind: str) -> Markup:
        """A figure with the mark by which the script finds it; `where` is its path in the view: "totals.rate"."""
        text = said(kind, reach(view, where))
        return Markup('<span data-figure="{}" data-kind="{}">{}</span>').format(where, kind, text)

    return figure


def _bar_of(view: Mapping[str, Any]) -> Callable[[str, str], Markup]:
    def bar(where: str, of: str = "") -> Markup:
        """A bar of the share that `where` is of `of`, or of 1."""
        value, whole = reach(view, where), reach(view, of) if of else 1
        width = min(100.0, max(0.0, value / whole * 100)) if value is not None and whole else 0.0
        return Markup(
            '<svg class="bar" data-bar="{}" data-of="{}" aria-hidden="true"><rect width="{}%" height="100%"/></svg>'
        ).format(where, of, f"{width:.1f}")

    return bar


def reach(view: Mapping[str, Any], where: str) -> Any:
    """What stands at a dotted path."""
    found: Any = view
    for name in where.split("."):
        found = found[name]
    return found
