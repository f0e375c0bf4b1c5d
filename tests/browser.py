"""A real Chromium for tests, driven by chromedriver's plain W3C protocol. Edge."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support import free_port, program, wait_for

FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--no-proxy-server",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
    "--disable-crash-reporter", "--disable-breakpad", "--hide-scrollbars", "--force-color-profile=srgb",
)  # fmt: skip
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
KEYS = {
    "Tab": "\ue004", "Enter": "\ue007", "Shift": "\ue008", "Escape": "\ue00c", "Space": "\ue00d",
    "End": "\ue010", "Home": "\ue011", "Left": "\ue012", "Right": "\ue014",
}  # fmt: skip


class Browser:
    """One window. Elements are named by CSS selectors and looked up anew each time, for the page moves."""

    def __init__(self, driver: str, session: str) -> None:
        self._session = f"{driver}/session/{session}"

    def open(self, url: str) -> None:
        """Go there and wait until it has loaded."""
        self._ask("POST", "/url", {"url": url})

    @property
    def address(self) -> str:
        return str(self._ask("GET", "/url"))

    @property
    def title(self) -> str:
        return str(self._ask("GET", "/title"))

    def run(self, script: str, *arguments: object) -> Any:
        """What the body of a function returns in the page; `arguments` are its `arguments`."""
        return self._ask("POST", "/execute/sync", {"script": script, "args": arguments})

    def text(self, selector: str) -> str:
        """Text of the first element as it stands in the document; "" where there is none."""
        return str(self.run("return document.querySelector(arguments[0])?.textContent ?? ''", selector)).strip()

    def texts(self, selector: str) -> list[str]:
        """The same for all of them."""
        found = self.run("return [...document.querySelectorAll(arguments[0])].map(e => e.textContent)", selector)
        return [str(text).strip() for text in found]

    def attribute(self, selector: str, name: str) -> str | None:
        found = self.run("return document.querySelector(arguments[0])?.getAttribute(arguments[1])", selector, name)
        return None if found is None else str(found)

    def visible(self, selector: str) -> bool:
        """Whether the first such element is there and takes up room."""
        return bool(self.run("return !!document.querySelector(arguments[0])?.checkVisibility()", selector))

    def click(self, selector: str) -> None:
        """As a mouse does; an element that is covered or not there is an error."""
        found = self._ask("POST", "/element", {"using": "css selector", "value": selector})
        self._ask("POST", f"/element/{found[ELEMENT]}/click", {})

    def press(self, *keys: str) -> None:
        """Keys one after another, by name (KEYS) or as characters; "Shift+Tab" holds the first."""
        actions: list[dict[str, str]] = []
        for key in keys:
            held = [KEYS.get(part, part) for part in key.split("+")]
            actions += [{"type": "keyDown", "value": part} for part in held]
            actions += [{"type": "keyUp", "value": part} for part in reversed(held)]
        self._ask("POST", "/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})

    def hover(self, selector: str, share: float) -> None:
        """The mouse over the first such element, at a share of its width (0..1)."""
        self._mouse(self._over(selector, share))

    def drag(self, selector: str, start: float, stop: float) -> None:
        """With the mouse over the first such element, from one share of its width (0..1) to another."""
        first, middle, last = (self._over(selector, share) for share in (start, (start + stop) / 2, stop))
        press, release = {"type": "pointerDown", "button": 0}, {"type": "pointerUp", "button": 0}
        self._mouse(first, press, middle, last, release)

    def _over(self, selector: str, share: float) -> dict[str, Any]:
        left, top, width, height = self.run(
            "const e = document.querySelector(arguments[0]); e.scrollIntoView({block: 'center'});"
            "const r = e.getBoundingClientRect(); return [r.left, r.top, r.width, r.height]",
            selector,
        )
        place = {"x": round(left + width * share), "y": round(top + height / 2)}
        return {"type": "pointerMove", "duration": 50, **place}

    def _mouse(self, *actions: dict[str, Any]) -> None:
        mouse = {"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"}, "actions": actions}
        self._ask("POST", "/actions", {"actions": [mouse]})

    def console(self) -> list[str]:
        """What the console said since it was last asked: warnings and errors, of the page's policy too."""
        entries = self._ask("POST", "/se/log", {"type": "browser"})
        return [f"{entry['level']}: {entry['message']}" for entry in entries if entry["level"] in ("SEVERE", "WARNING")]

    def cookies(self) -> list[dict[str, Any]]:
        return list(self._ask("GET", "/cookie"))

    def devtools(self, command: str, **parameters: object) -> Any:
        """A command of the DevTools protocol, for what WebDriver has no word for."""
        return self._ask("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def size(self, width: int, height: int, phone: bool = False) -> None:
        """The page's own size in CSS pixels."""
        self.devtools(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=2 if phone else 1, mobile=phone,
        )  # fmt: skip

    def prefer(self, **features: str) -> None:
        """What the system asks of pages: color_scheme="dark", reduced_motion="reduce"."""
        media = [{"name": f"prefers-{name.replace('_', '-')}", "value": value} for name, value in features.items()]
        self.devtools("Emulation.setEmulatedMedia", features=media)

    def scripts(self, allowed: bool) -> None:
        """Whether pages opened from now on may run scripts; `run` works either way."""
        self.devtools("Emulation.setScriptExecutionDisabled", value=not allowed)

    def forget(self) -> None:
        """Nothing of the page at hand stays: nothing stored, no cookie, no emulation, no line of the console."""
        self.run("try { localStorage.clear() } catch { /* about:blank has none */ }")
        self.open("about:blank")
        self.scripts(True)
        self.devtools("Network.clearBrowserCookies")
        self.devtools("Emulation.setEmulatedMedia", features=[])
        self.size(1280, 900)
        self.console()

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self._ask("GET", "/screenshot")))

    def quit(self) -> None:
        self._ask("DELETE", "")

    def _ask(self, method: str, path: str, body: object = None) -> Any:
        return _ask(method, self._session + path, body)


def _ask(method: str, url: str, body: object = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    # No proxy of the surroundings may come between a test and its own loopback.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=60) as answer:
            return json.load(answer)["value"]
    except urllib.error.HTTPError as refused:
        with refused:
            told = json.load(refused)["value"]
        raise AssertionError(f"{method} {url}: {told['error']}: {told['message']}") from None


@contextmanager
def driver() -> Iterator[str]:
    """chromedriver on a free port, → its address; it and every Chromium of it end with the block."""
    port = free_port()
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    process = subprocess.Popen(
        [program("chromedriver"), f"--port={port}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
        start_new_session=True,
    )
    url = f"http://127.0.0.1:{port}"

    def ready() -> bool:
        try:
            return bool(_ask("GET", f"{url}/status")["ready"])
        except OSError:
            return False

    try:
        wait_for(ready, "chromedriver answers")
        yield url
    finally:
        # Its browsers are in its group; a session that a failing test left open ends here too.
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(5)


@contextmanager
def window(driver_url: str) -> Iterator[Browser]:
    """A new Chromium with an empty profile."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = {"binary": program("chromium"), "args": [*FLAGS, f"--user-data-dir={profile}"]}
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        made = _ask("POST", f"{driver_url}/session", {"capabilities": {"alwaysMatch": wanted}})
        browser = Browser(driver_url, made["sessionId"])
        try:
            yield browser
        finally:
            browser.quit()
