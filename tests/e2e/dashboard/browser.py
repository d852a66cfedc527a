"""A real Chromium on the dashboard: what a user does with it, and what must hold on every page."""

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    CDPSession,
    ConsoleMessage,
    Page,
    Request,
    ViewportSize,
    expect,
    sync_playwright,
)

from tools.dashboard import FRONTEND

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
LONG_TASKS = """
window.longTasks = [];
new PerformanceObserver((list) => longTasks.push(...list.getEntries().map((task) => task.duration)))
  .observe({type: "longtask", buffered: true});
"""
LAPTOP = ViewportSize(width=1280, height=800)
PHONE = ViewportSize(width=360, height=740)
WALL = ViewportSize(width=3840, height=2160)
PATIENCE_MS = 60_000
expect.set_options(timeout=PATIENCE_MS)
AXE = FRONTEND / "node_modules" / "axe-core" / "axe.min.js"


@contextlib.contextmanager
def run_chromium() -> Iterator[Browser]:
    """A browser without a window; where there is none the tests are skipped, but never in CI."""
    if CHROMIUM is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(  # noqa: TID251 - not a setting of the service
            "needs Chromium: apt-get install chromium"
        )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


def longest_task_ms(page: Page, act: Callable[[], None]) -> float:
    """Milliseconds of processor time that the page's main thread spent in its longest task while something was done.

    By the clock a task is as long as other work on the machine makes it.
    """
    browser = page.context.browser
    assert browser is not None
    browser.start_tracing(page=page, categories=["disabled-by-default-devtools.timeline"])
    try:
        act()
    finally:
        events = json.loads(browser.stop_tracing())["traceEvents"]
    named = [event for event in events if event["name"] == "thread_name"]
    main = {(each["pid"], each["tid"]) for each in named if each["args"]["name"] == "CrRendererMain"}
    tasks = [each for each in events if each["name"] == "RunTask" and (each["pid"], each["tid"]) in main]
    return max(each["tdur"] for each in tasks if "tdur" in each) / 1000


class Tab:
    """One page of the dashboard; at its end it must have asked nothing of other hosts and reported no error."""

    def __init__(self, context: BrowserContext, url: str, shots: Path) -> None:
        self.url, self.shots = url, shots
        self.page: Page = context.new_page()
        self.page.set_default_timeout(PATIENCE_MS)
        self.devtools: CDPSession = context.new_cdp_session(self.page)
        self.complaints: list[str] = []
        self.foreign: list[str] = []
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", self._hear)
        self.page.on("request", self._note)

    def _hear(self, said: ConsoleMessage) -> None:
        if said.type == "error":
            self.complaints.append(said.text)

    def _note(self, request: Request) -> None:
        if not request.url.startswith((self.url, "blob:", "data:")):
            self.foreign.append(request.url)

    def open(self, path: str) -> Page:
        self.page.goto(f"{self.url}/dashboard/{path}")
        self.page.locator("h1").wait_for()
        return self.page

    def settle(self) -> None:
        """Wait until nothing on the page is still being fetched for the first time."""
        self.page.locator("[data-loading], [data-plan=stale]").first.wait_for(state="detached")

    def slow_down(self, bytes_per_second: int) -> None:
        """Hold uploads below a rate; -1 lets them go."""
        self.devtools.send("Network.enable")
        limits = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": bytes_per_second}
        self.devtools.send("Network.emulateNetworkConditions", {"offline": False, **limits})

    def sent_parts(self) -> list[str]:
        """Numbers of the parts that this tab sends from now on, in a list that grows."""
        numbers: list[str] = []

        def note(request: Request) -> None:
            if request.method == "PUT" and "/parts/" in request.url:
                numbers.append(request.url.rpartition("/parts/")[2].partition("?")[0])

        self.page.context.on("request", note)
        return numbers

    def drop(self, paths: Sequence[Path]) -> None:
        """Drop files or folders from the disk into the middle of the page, as the mouse does it."""
        size = self.page.viewport_size
        assert size is not None
        data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            place = {"x": size["width"] // 2, "y": size["height"] // 2}
            self.devtools.send("Input.dispatchDragEvent", {"type": kind, **place, "data": data})

    def open_dataset(self) -> None:
        """Follow the upload's link to its dataset; the address changes before the page does."""
        left = self.page.locator("h1").inner_text()
        self.page.get_by_role("link", name="Dataset", exact=True).click()
        self.page.get_by_role("heading", level=1, name=left, exact=True).wait_for(state="detached")

    def wait_for_state(self, *states: str, timeout: float = 400_000) -> None:
        """Wait until the job or dataset whose page this is has one of these states; lists do not count."""
        wanted = ", ".join(f"h1 ~ [data-state={state}]" for state in states)
        self.page.locator(wanted).wait_for(timeout=timeout)

    def shoot(self, name: str, *, full: bool = True) -> None:
        self.shots.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=str(self.shots / f"{name}.png"), full_page=full, animations="disabled")

    def violations(self) -> list[str]:
        """What axe finds wrong with the page as it is now."""
        # Evaluated by the debugger: the page's own policy lets no script in, and need not.
        self.page.evaluate(AXE.read_text())
        found: dict[str, Any] = self.page.evaluate("() => axe.run(document, {resultTypes: ['violations']})")
        return [
            f"{each['id']}: {each['help']}: {json.dumps([node['html'][:200] for node in each['nodes']])}"
            for each in found["violations"]
        ]

    def overflows(self) -> bool:
        """Whether the page is wider than the window."""
        width: bool = self.page.evaluate(
            "document.documentElement.scrollWidth > document.documentElement.clientWidth"
        )
        return width

    def expect_no_complaints(self, *allowed: str) -> None:
        complaints = [each for each in self.complaints if not any(words in each for words in allowed)]
        assert not complaints, "\n".join(complaints)
        assert self.foreign == []
