"""Page in a browser: the viewer of the gallery, errors and requests; skipped without Chromium."""

import asyncio
import json
import shutil
import subprocess
from collections.abc import Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.report.conftest import save

aiohttp = pytest.importorskip("aiohttp")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")

PHONE = {"width": 400, "height": 800, "deviceScaleFactor": 1, "mobile": True}
KEYS = {"Escape": 27, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}
SHOWN = """[
    document.getElementById("viewer").open,
    document.getElementById("viewer-title").textContent,
    [...document.querySelectorAll("#viewer-pictures figcaption")].map((caption) => caption.textContent),
]"""


class Tab:
    """Tab of a browser, driven through the DevTools protocol."""

    def __init__(self, socket: Any) -> None:
        self.socket = socket
        self.number = 0
        self.events: list[dict[str, Any]] = []

    async def call(self, method: str, **params: Any) -> Any:
        """Call a method of the protocol; keep the events that arrive before the answer."""
        self.number += 1
        await self.socket.send_json({"id": self.number, "method": method, "params": params})
        while True:
            message = await self.socket.receive_json()
            if message.get("id") == self.number:
                assert "error" not in message, message
                return message["result"]
            self.events.append(message)

    async def evaluate(self, script: str) -> Any:
        """Return the value of an expression in the page."""
        answer = await self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        return answer["result"].get("value")

    async def press(self, key: str) -> None:
        """Press and release a key."""
        for kind in ("keyDown", "keyUp"):
            code = KEYS[key]
            await self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)
        await self.evaluate("new Promise(requestAnimationFrame)")  # the dialog reports its end later

    async def load(self, page: Path) -> None:
        """Open a page in the window of a phone and wait until it is complete."""
        for domain in ("Page", "Runtime", "Log", "Network"):
            await self.call(f"{domain}.enable")
        await self.call("Emulation.setDeviceMetricsOverride", **PHONE)
        await self.call("Page.navigate", url=page.as_uri())
        while await self.evaluate("location.protocol + document.readyState") != "file:complete":
            await asyncio.sleep(0.05)

    def named(self, *methods: str) -> list[Any]:
        """Return the parameters of all events of these names."""
        return [event["params"] for event in self.events if event["method"] in methods]


@asynccontextmanager
async def open_tab(profile: Path) -> Any:
    """Start Chromium and yield a tab; end it afterwards."""
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0"]
    with (profile / "output").open("w") as output:
        browser = subprocess.Popen([str(CHROMIUM), *options, f"--user-data-dir={profile}"], stderr=output)
    port = profile / "DevToolsActivePort"
    try:
        while not (port.exists() and port.read_text()):
            assert browser.poll() is None, (profile / "output").read_text()
            await asyncio.sleep(0.05)
        address = f"http://127.0.0.1:{port.read_text().split()[0]}"
        async with aiohttp.ClientSession() as session:
            async with session.put(f"{address}/json/new") as answer:
                target = await answer.json()
            async with session.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                yield Tab(socket)
    finally:
        browser.terminate()
        browser.wait()


@pytest.fixture
def in_browser(results: Path, page: Callable[[], str], tmp_path: Path) -> Callable[[Callable[[Tab], Any]], None]:
    """Return a function that opens the page with pictures of two tasks and calls another function with its tab."""
    for task in ("coco-seg", "style-gogh"):
        for name in ("input-0", "target-0", "input-1", "target-1"):
            save(results, "floor", name, task=task)
        for method in ("fine-tune", "piggyback"):
            save(results, method, f"after-{task}-0", task=task)
    save(results, "fine-tune", "after-style-gogh-0")  # what is left of coco-seg
    file = tmp_path / "report.html"
    file.write_text(page())
    (tmp_path / "profile").mkdir()

    async def opened(act: Callable[[Tab], Coroutine[Any, Any, None]]) -> None:
        async with open_tab(tmp_path / "profile") as tab:
            await tab.load(file)
            await act(tab)

    return lambda act: asyncio.run(asyncio.wait_for(opened(act), 60))


def test_the_viewer_opens_by_click_moves_by_arrows_and_returns_the_focus(
    in_browser: Callable[[Callable[[Tab], Any]], None],
) -> None:
    async def act(tab: Tab) -> None:
        assert (await tab.evaluate(SHOWN))[0] is False
        await tab.evaluate("document.querySelector('[data-group=fine-tune] button').click()")
        both = ["fine-tune after training", "fine-tune after the last task"]
        assert await tab.evaluate(SHOWN) == [True, f"coco-seg, sample 0: {both[0]}", ["input", "target", *both]]
        for key, title, captions in (
            ("ArrowRight", f"coco-seg, sample 0: {both[1]}", both),
            ("ArrowRight", "coco-seg, sample 0: piggyback after training", ["piggyback after training"]),
            (
                "ArrowRight",
                "coco-seg, sample 0: piggyback after training",
                ["piggyback after training"],
            ),  # the last
            ("ArrowDown", "style-gogh, sample 0: piggyback after training", ["piggyback after training"]),
            ("ArrowLeft", f"style-gogh, sample 0: {both[0]}", both[:1]),
        ):
            await tab.press(key)
            assert await tab.evaluate(SHOWN) == [True, title, ["input", "target", *captions]]
        await tab.press("Escape")
        assert (await tab.evaluate(SHOWN))[0] is False
        assert (
            await tab.evaluate("document.activeElement.firstElementChild.alt") == f"style-gogh, sample 0: {both[0]}"
        )

    in_browser(act)


def test_the_page_has_no_error_no_request_and_the_width_of_a_phone(
    in_browser: Callable[[Callable[[Tab], Any]], None],
) -> None:
    async def act(tab: Tab) -> None:
        visible = (
            "[...document.querySelectorAll('.gallery tr')].filter((row) => row.getClientRects().length).length"
        )
        assert await tab.evaluate(visible) == 4  # two of the titles, and the first sample of each task
        await tab.evaluate("document.getElementById('all-samples').click()")
        assert await tab.evaluate(visible) == 6
        assert await tab.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
        addresses = [event["request"]["url"] for event in tab.named("Network.requestWillBeSent")]
        assert [address for address in addresses if not address.startswith(("file:", "data:"))] == []
        assert sum(address.startswith("file:") for address in addresses) == 1
        errors = tab.named("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
        assert errors == [], json.dumps(errors)

    in_browser(act)
