"""Opens a page in headless Chromium, as `.ci/run` installs it, at any width.

An iframe sets the width, because a window of the full Chromium is never narrower than
500 pixels; only the headless shell allows less. A local HTTP server delivers the page,
because resource timing lists HTTP requests, failed ones included, but no local files.
"""

import contextlib
import dataclasses
import functools
import html
import http.server
import json
import pathlib
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
# Precedes the page's head, whose content security policy would forbid this script.
_PROBE = """<script>
addEventListener("load", () => {
  const root = document.documentElement;
  const seen = {
    pictures: [...document.images].map((i) => i.complete && i.naturalWidth > 0),
    alts: [...document.images].map((i) => i.alt),
    drawings: document.querySelectorAll("svg[role=img][aria-label]").length,
    width: innerWidth,
    content_width: root.scrollWidth,
    loads: performance.getEntriesByType("resource").map((e) => e.name)
      .filter((name) => !name.startsWith("data:")),
    dark: matchMedia("(prefers-color-scheme: dark)").matches,
    paper: getComputedStyle(document.body).backgroundColor,
  };
  parent.postMessage(JSON.stringify(seen), "*");
});
</script>"""
# The frame follows the browser's dark mode only if the outer page allows both schemes.
_FRAME = """<!doctype html><html><head><meta charset="utf-8">
<meta name="color-scheme" content="light dark">
<script>
addEventListener("message", (message) => {{
  document.documentElement.setAttribute("data-seen", message.data);
}});
</script></head><body>
<iframe src="{src}" style="border: 0; width: {width}px; height: 900px"></iframe>
</body></html>
"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Opened:
    """A page as a browser shows it.

    Attributes:
      seen: what the script above reports about the page's document.
      console: lines of its console.
    """

    seen: dict
    console: list[str]


def find() -> str | None:
    """Returns the path of a browser, or None if none is installed."""
    return next(filter(None, map(shutil.which, NAMES)), None)


def open_page(
    page: pathlib.Path, aside: pathlib.Path, *, width: int, dark: bool = False
) -> Opened:
    """Copies `page` to the file `aside` and opens that at a width of `width` pixels."""
    text = page.read_text(encoding="utf-8")
    assert text.count("<head>") == 1
    aside.write_text(text.replace("<head>", "<head>" + _PROBE), encoding="utf-8")
    frame = aside.with_suffix(".frame.html")
    frame.write_text(_FRAME.format(src=aside.name, width=width), encoding="utf-8")
    with _served(frame.parent) as address:
        done = _dump(f"{address}/{frame.name}", aside, width=width, dark=dark)
    assert done.returncode == 0, done.stderr
    seen = re.search(r'data-seen="([^"]*)"', done.stdout)
    assert seen, done.stdout[:500]
    return Opened(
        seen=json.loads(html.unescape(seen[1])),
        console=[line for line in done.stderr.splitlines() if ":CONSOLE" in line],
    )


class _Silent(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@contextlib.contextmanager
def _served(folder: pathlib.Path) -> Iterator[str]:
    """Serves a folder on localhost; yields the address."""
    handler = functools.partial(_Silent, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


def _dump(address: str, aside: pathlib.Path, *, width: int, dark: bool):
    """Runs the browser, which prints the page's DOM once everything is loaded."""
    return subprocess.run(
        [
            find(),
            "--headless",
            # Chromium has no sandbox for root in a container; the page is our own.
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--enable-logging=stderr",
            "--hide-scrollbars",
            f"--user-data-dir={aside.with_suffix('.profile')}",
            f"--window-size={width + 100},1000",
            f"--blink-settings=preferredColorScheme={0 if dark else 1}",
            "--virtual-time-budget=10000",
            "--dump-dom",
            address,
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
