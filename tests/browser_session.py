"""Drives headless Chromium as a user does: real keys, mouse, fingers, and screenshots.

It speaks the DevTools protocol over a pipe, which needs no library and no port: a JSON
object each way that ends with a zero byte. Pages are opened from the disk.
"""

import base64
import contextlib
import itertools
import json
import os
import pathlib
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np

from tests import browser

_SECONDS = 60
# Chromium reads from descriptor 3 and writes to 4.
_TRAMPOLINE = """
import fcntl, os, sys
pipes = [fcntl.fcntl(int(fd), fcntl.F_DUPFD, 10) for fd in sys.argv[1:3]]
os.dup2(pipes[0], 3)
os.dup2(pipes[1], 4)
os.execv(sys.argv[3], sys.argv[3:])
"""


class Session:
    """One tab.

    Attributes:
      requests: the addresses that were asked for since the page was opened.
      complaints: what the page's console or the browser's log has said since then.
    """

    def __init__(self, to_browser: int, from_browser: int):
        self._out, self._in = to_browser, from_browser
        self._ids = itertools.count(1)
        self._read = b""
        self._tab: dict[str, str] = {}
        self.requests: list[str] = []
        self.complaints: list[str] = []
        made = self.call("Target.createTarget", url="about:blank")
        attached = self.call(
            "Target.attachToTarget", targetId=made["targetId"], flatten=True
        )
        self._tab = {"sessionId": attached["sessionId"]}
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Returns what the browser answers; raises a RuntimeError if it refuses."""
        number = next(self._ids)
        message = {"id": number, "method": method, "params": params, **self._tab}
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._out, data) :]
        while (answer := self._next()).get("id") != number:
            self._note(answer)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def open(
        self, page: pathlib.Path, *, width: int, height: int, fragment: str = ""
    ) -> None:
        """Opens a page at a size in pixels, and waits until its files are loaded."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 500,
        )
        self.call("Page.navigate", url="about:blank")
        self.requests, self.complaints = [], []
        self.call("Page.navigate", url=page.resolve().as_uri() + fragment)
        self.wait("location.protocol === 'file:' && document.readyState === 'complete'")
        self._clock = time.time()

    def ask(self, expression: str) -> Any:
        """Returns the value of a JavaScript expression; awaits a promise."""
        result = self.call(
            "Runtime.evaluate",
            expression=expression,
            returnByValue=True,
            awaitPromise=True,
        )
        if "exceptionDetails" in result:
            raise RuntimeError(f"{expression}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def wait(self, expression: str) -> None:
        """Waits until a JavaScript expression is true."""
        limit = time.monotonic() + _SECONDS
        while not self.ask(expression):
            assert time.monotonic() < limit, f"never true: {expression}"
            time.sleep(0.02)

    def settle(self) -> None:
        """Waits until what was changed is painted."""
        self.ask("new Promise((f) => requestAnimationFrame(() => setTimeout(f, 30)))")

    def key(self, key: str) -> None:
        """Presses a key, such as "m" or "ArrowRight"."""
        text = {"text": key} if len(key) == 1 else {}
        code = {"Escape": 27, "ArrowLeft": 37, "ArrowRight": 39}.get(key, 0)
        pressed = {"key": key, "windowsVirtualKeyCode": code}
        self.call("Input.dispatchKeyEvent", type="keyDown", **pressed, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", **pressed)

    def drag(self, start: tuple[float, float], *, right: float, down: float) -> None:
        """Drags the mouse from a point of the window."""
        x, y = start
        to = {"x": x + right, "y": y + down}
        for kind, point in (
            ("mousePressed", {"x": x, "y": y}),
            ("mouseMoved", to),
            ("mouseReleased", to),
        ):
            self.call(
                "Input.dispatchMouseEvent",
                type=kind,
                button="left",
                buttons=1,
                clickCount=1,
                **point,
            )

    def touch(self, *moments: list[tuple[float, float]]) -> None:
        """Puts fingers on the points of the first moment, moves, and lifts them.

        A moment takes 10 ms by the events' own time, however busy the machine is.
        """
        kinds = ["touchStart"] + ["touchMove"] * (len(moments) - 1) + ["touchEnd"]
        for kind, points in zip(kinds, [*moments, []], strict=True):
            self._clock += 0.01
            self.call(
                "Input.dispatchTouchEvent",
                type=kind,
                touchPoints=[
                    {"x": x, "y": y, "id": k} for k, (x, y) in enumerate(points)
                ],
                timestamp=self._clock,
            )

    def wheel(self, at: tuple[float, float], delta: float) -> None:
        """Turns the wheel at a point; below 0 is away from the user."""
        x, y = at
        point = {"x": x, "y": y, "deltaX": 0, "deltaY": delta}
        self.call("Input.dispatchMouseEvent", type="mouseWheel", **point)

    def picture(self) -> np.ndarray:
        """Returns what is seen, [H, W, 3] uint8, blue first."""
        self.settle()
        data = self.call("Page.captureScreenshot", format="png")["data"]
        return cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), 1)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._read:
            ready, _, _ = select.select([self._in], [], [], _SECONDS)
            block = os.read(self._in, 1 << 20) if ready else b""
            assert block, "the browser has ended or does not answer"
            self._read += block
        message, _, self._read = self._read.partition(b"\0")
        return json.loads(message)

    def _note(self, event: dict[str, Any]) -> None:
        method, params = event.get("method"), event.get("params", {})
        if method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(str(params["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled":
            self.complaints.append(str(params["args"]))
        elif method == "Log.entryAdded":
            self.complaints.append(params["entry"]["text"])


@contextlib.contextmanager
def started(profile: pathlib.Path) -> Iterator[Session]:
    """Starts a browser; `profile` is a folder for its files."""
    browser_in, to_browser = os.pipe()
    from_browser, browser_out = os.pipe()
    process = subprocess.Popen(
        [
            *(sys.executable, "-c", _TRAMPOLINE, str(browser_in), str(browser_out)),
            browser.find(),
            "--headless",
            # Chromium has no sandbox for root in a container; the page is our own.
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--hide-scrollbars",
            "--force-color-profile=srgb",
            "--remote-debugging-pipe",
            f"--user-data-dir={profile}",
        ],
        pass_fds=(browser_in, browser_out),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        os.close(browser_in)
        os.close(browser_out)
        yield Session(to_browser, from_browser)
    finally:
        # Chromium ends when its pipe does.
        os.close(to_browser)
        os.close(from_browser)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
