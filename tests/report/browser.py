"""A real Chromium without a window, spoken to over its debugging pipe; nothing but the standard library."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_FIRST = 10  # descriptors below this number are given their places in the child


def found() -> str | None:
    """The path of a Chromium on this host."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Tab:
    """One page. `console` holds everything that was said since it was opened."""

    def __init__(self, browser: Browser, session: str):
        self._browser = browser
        self._session = session
        self.console: list[str] = []
        self._asked: dict[str, str] = {}  # by id of the request

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        return self._browser.call(method, self._session, **params)

    def hear(self, method: str, params: dict[str, Any]) -> None:
        if method == "Runtime.consoleAPICalled":
            self.console.append(f"{params['type']}: {params['args']}")
        elif method == "Runtime.exceptionThrown":
            self.console.append(f"exception: {params['exceptionDetails']}")
        elif method == "Log.entryAdded":
            self.console.append(f"{params['entry']['level']}: {params['entry']['text']}")
        elif method == "Audits.issueAdded":
            self.console.append(f"issue: {params['issue']['code']}: {params['issue']['details']}")
        elif method == "Network.requestWillBeSent":
            self._asked[params["requestId"]] = params["request"]["url"]
        elif method == "Network.loadingFailed" and params.get("blockedReason") == "csp":
            del self._asked[params["requestId"]]

    @property
    def requests(self) -> list[str]:
        """What the page asked for and its own policy did not refuse."""
        return list(self._asked.values())

    def open(self, path: Path) -> None:
        """Load a page and wait until all is there."""
        for domain in ("Page", "Runtime", "Log", "Network", "Audits"):
            self.call(f"{domain}.enable")
        self.call("Page.navigate", url=path.as_uri())
        self._browser.wait("Page.loadEventFired", self._session)
        self.evaluate("document.fonts.ready.then(() => new Promise(requestAnimationFrame))")

    def look(self, width: int, height: int = 900, *, dark: bool = False, media: str = "") -> None:
        """As a screen of that width in CSS pixels, light or dark, or as `media="print"`."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", media=media, features=[scheme])

    def evaluate(self, expression: str) -> Any:
        """The value of an expression in the page. The page's policy does not bind a debugger."""
        answer = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def press(self, x: float, y: float) -> None:
        """Click at a point of the window."""
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def picture(self, whole: bool = True) -> bytes:
        """The page as PNG."""
        answer = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        return base64.b64decode(answer["data"])

    def paper(self) -> bytes:
        """The page as PDF, on the paper that it asks for."""
        answer = self.call("Page.printToPDF", preferCSSPageSize=True, printBackground=True)
        return base64.b64decode(answer["data"])


class Browser:
    """A running Chromium."""

    def __init__(self, write: int, read: int):
        self._write = write
        self._read = read
        self._number = 0
        self._rest = b""
        self._tabs: dict[str, Tab] = {}
        self._heard: list[tuple[str, str]] = []

    def tab(self) -> Tab:
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self._tabs[session] = Tab(self, session)
        return self._tabs[session]

    def call(self, method: str, session: str = "", **params: Any) -> dict[str, Any]:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._write, data) :]
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                result: dict[str, Any] = answer["result"]
                return result

    def wait(self, method: str, session: str) -> None:
        while (method, session) not in self._heard:
            self._next()
        self._heard.clear()

    def _next(self) -> dict[str, Any]:
        """The next message; what is no answer is told to its tab."""
        while b"\0" not in self._rest:
            piece = os.read(self._read, 1 << 16)
            assert piece, "Chromium has ended"
            self._rest += piece
        line, _, self._rest = self._rest.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        if "method" in message:
            session = message.get("sessionId", "")
            self._heard.append((message["method"], session))
            if session in self._tabs:
                self._tabs[session].hear(message["method"], message.get("params", {}))
        return message


def _high(descriptor: int) -> int:
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _FIRST)
    os.close(descriptor)
    return moved


@contextmanager
def chromium(home: Path) -> Iterator[Browser]:
    """A Chromium with an empty profile in `home`, which can reach no network."""
    path = found()
    assert path is not None
    theirs_read, write = map(_high, os.pipe())
    read, theirs_write = map(_high, os.pipe())

    def places() -> None:
        os.dup2(theirs_read, 3)
        os.dup2(theirs_write, 4)

    process = subprocess.Popen(
        [
            path,
            "--headless=new",
            "--no-sandbox",  # it runs as root here, on pages of our own
            "--remote-debugging-pipe",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-extensions",
            "--no-first-run",
            "--hide-scrollbars",
            "--host-resolver-rules=MAP * ~NOTFOUND",
            f"--user-data-dir={home}",
            "about:blank",
        ],
        close_fds=False,
        preexec_fn=places,
        env={**os.environ, "HOME": str(home), "TZ": "UTC"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(theirs_read)
    os.close(theirs_write)
    try:
        browser = Browser(write, read)
        yield browser
        browser.call("Browser.close")
    finally:
        os.close(write)
        os.close(read)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
