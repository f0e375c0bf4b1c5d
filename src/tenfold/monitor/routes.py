"""Which route answered a request, as its template: what an application's own framework says, by its shape. Pure.

A path as it was asked for is never used: it may hold anybody's data, and there is no end of paths.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

UNMATCHED = "__unmatched__"
TOLD = "tenfold.route"
"""A key of scope or environ under which an application may name its route itself."""

_MOST_LEAVES = 4096
_DEEPEST = 16
_REST_OF_MOUNT = "/{path}"


class _Way(NamedTuple):
    """A template, and the routes that lead to it from the outermost router."""

    template: str
    chain: tuple[Any, ...]


_Known = tuple[object, str, list[_Way]]
"""A route, its template if that is always the same, and all ways to it."""


class Templates:
    """The templates of one ASGI application (Starlette, FastAPI and what is made of them), mounted ones included."""

    def __init__(self) -> None:
        # By identity: routes compare equal when they look alike. The object is kept, else its id could be another's.
        self._ways: dict[int, _Known] = {}

    def of(self, scope: Mapping[str, Any]) -> str:
        """The template of the route that an answered request's scope names, or UNMATCHED. Never raises."""
        if TOLD in scope and isinstance(scope[TOLD], str):
            return str(scope[TOLD])
        leaf = scope.get("route")
        if leaf is None:
            leaf = scope.get("endpoint")  # Starlette before 1.0 names only this
            if leaf is None:
                return UNMATCHED
        known = self._ways.get(id(leaf))
        if known is None or known[0] is not leaf:
            known = self._learn(leaf, scope)
        return known[1] or _walked(known[2], scope)

    def _learn(self, leaf: object, scope: Mapping[str, Any]) -> _Known:
        found: dict[str, _Way] = {}
        try:
            for route, way in _all_ways(_routes_of(scope.get("router")), "", ()):
                if route is leaf or getattr(route, "endpoint", route) is leaf:
                    found.setdefault(way.template, way)
        except Exception:  # an application whose routes are no such routes is to be served all the same
            found = {}
        ways = list(found.values())
        own = getattr(leaf, "path_format", None)
        if not ways:
            ways = [_Way(own if isinstance(own, str) else UNMATCHED, ())]
        if len(self._ways) >= _MOST_LEAVES:
            self._ways.clear()
        known = self._ways[id(leaf)] = (leaf, ways[0].template if len(ways) == 1 else "", ways)
        return known


def _all_ways(routes: Any, prefix: str, chain: tuple[Any, ...]) -> Iterator[tuple[Any, _Way]]:
    """Every route with the ways to it, those of mounted applications below those of their mounts."""
    for route in routes:
        own = getattr(route, "path_format", "")
        if not isinstance(own, str):
            continue
        here = (*chain, route)
        yield route, _Way(prefix + own, here)
        below = _routes_of(route)
        if below and len(here) < _DEEPEST:
            yield from _all_ways(below, prefix + own.removesuffix(_REST_OF_MOUNT), here)


def _routes_of(thing: Any) -> Any:
    """The routes of a router, a mount or an application, through the middleware around it."""
    for _ in range(_DEEPEST):
        routes = getattr(thing, "routes", None)
        if routes:
            return routes
        thing = getattr(thing, "app", None)
        if thing is None:
            break
    return ()


def _walked(ways: list[_Way], scope: Mapping[str, Any]) -> str:
    """Where one application is mounted twice: the way that the request's path takes."""
    for way in ways:
        here = {**scope, "root_path": scope.get("app_root_path", scope.get("root_path", "")), "path_params": {}}
        try:
            for route in way.chain:
                _, child = route.matches(here)
                if not child:
                    break
                here.update(child)
            else:
                return way.template
        except Exception:  # noqa: S112  # a convertor of the application's own
            continue
    return UNMATCHED


def wsgi_template(environ: Mapping[str, Any], body: object) -> str:
    """The template of the route that answered: Flask's rule, Django's route, or UNMATCHED. Never raises.

    Flask (Werkzeug) leaves its request in the environ. Django leaves it nowhere but in the response that
    it returns as the body, which closes the request with itself.
    """
    told = environ.get(TOLD)
    if isinstance(told, str):
        return told
    rule = getattr(getattr(environ.get("werkzeug.request"), "url_rule", None), "rule", None)
    if isinstance(rule, str):
        return rule
    response = getattr(getattr(body, "close", None), "__self__", None)
    for closer in getattr(response, "_resource_closers", ()):
        route = getattr(getattr(getattr(closer, "__self__", None), "resolver_match", None), "route", None)
        if isinstance(route, str):
            return route if route.startswith("/") else f"/{route}"
    return UNMATCHED
