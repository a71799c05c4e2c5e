"""Opens a page in headless Chromium, as `.ci/run` installs it."""

import dataclasses
import html
import json
import pathlib
import re
import shutil
import subprocess

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
# Before the page's own head, so that its policy against scripts stands afterwards.
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
  root.setAttribute("data-seen", JSON.stringify(seen));
});
</script>"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Opened:
    """A page as a browser shows it.

    Attributes:
      seen: what the page's own document says, see the script above.
      console: lines of its console.
    """

    seen: dict
    console: list[str]


def find() -> str | None:
    """Returns a browser's path, or None where there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


def open_page(
    page: pathlib.Path, aside: pathlib.Path, *, width: int, dark: bool = False
) -> Opened:
    """Opens a copy of `page`, written to the file `aside`, in a window of `width`."""
    text = page.read_text(encoding="utf-8")
    assert text.count("<head>") == 1
    aside.write_text(text.replace("<head>", "<head>" + _PROBE), encoding="utf-8")
    done = subprocess.run(
        [
            find(),
            "--headless",
            # A container's root has no sandbox; the page is our own.
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--enable-logging=stderr",
            "--hide-scrollbars",
            f"--user-data-dir={aside.with_suffix('.profile')}",
            f"--window-size={width},900",
            f"--blink-settings=preferredColorScheme={0 if dark else 1}",
            "--virtual-time-budget=10000",
            "--dump-dom",
            aside.resolve().as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    seen = re.search(r'data-seen="([^"]*)"', done.stdout)
    assert seen, done.stdout[:500]
    return Opened(
        seen=json.loads(html.unescape(seen[1])),
        console=[line for line in done.stderr.splitlines() if ":CONSOLE" in line],
    )
