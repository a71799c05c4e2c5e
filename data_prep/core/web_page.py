"""One self-contained HTML page: its frame, its style, tables and pictures.

The page forbids itself scripts and every load from elsewhere, so that a browser
enforces what "self-contained" says.
"""

import base64
import html

import cv2
import numpy as np

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_STYLE = """
:root { color-scheme: light dark; --ink: #222; --paper: #fff; --bar: #2a7ab8;
  --faint: #666; --panel: #f4f6f8; --line: #8884; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #ddd; --paper: #1c1c1c; --bar: #5aa9e6;
    --faint: #a0a0a0; --panel: #262829; }
}
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink);
  background: var(--paper); max-width: 76rem; margin: 0 auto; padding: 1rem;
  overflow-wrap: break-word; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { padding: .2rem .8rem; text-align: right;
  border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; white-space: nowrap; }
@media (max-width: 32rem) { th, td { padding: .2rem .25rem; font-size: .85rem; } }
figure { margin: 1rem 0; overflow-x: auto; }
img, svg { max-width: 100%; height: auto; }
.pictures { display: grid; gap: .5rem;
  grid-template-columns: repeat(auto-fill, minmax(9.5rem, 1fr)); }
.pictures figure { margin: 0; }
.pictures img { width: 100%; }
svg text { fill: var(--ink); font: 11px system-ui, sans-serif; }
svg rect { fill: var(--bar); }
"""


def document(title: str, body: str, *, style: str = "") -> str:
    """Returns the page.

    Args:
      title: text.
      body: HTML.
      style: CSS rules beyond those of every page.
    """
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f"<title>{html.escape(title)}</title>"
        f"<style>{_STYLE}{style}</style></head><body>{body}</body></html>\n"
    )


def table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Returns a table of texts; on a narrow screen it scrolls by itself."""

    def row(tag, values):
        return "".join(f"<{tag}>{html.escape(v)}</{tag}>" for v in values)

    body = "".join(f"<tr>{row('td', values)}</tr>" for values in rows)
    return (
        '<div class="wide"><table>'
        f"<thead><tr>{row('th', header)}</tr></thead><tbody>{body}</tbody>"
        "</table></div>"
    )


def image(pixels: np.ndarray, alt: str, *, kind: str = "png", quality: int = 0) -> str:
    """Returns an <img> that carries its own bytes.

    Args:
      pixels: [H, W] or [H, W, 3] uint8, as for cv2.imwrite.
      alt: text for those who do not see it.
      kind: "png" or "jpeg".
      quality: of a JPEG, 1 to 100.
    """
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if kind == "jpeg" else []
    data = base64.b64encode(cv2.imencode(f".{kind}", pixels, options)[1].tobytes())
    height, width = pixels.shape[:2]
    return (
        f'<img alt="{html.escape(alt)}" width="{width}" height="{height}" '
        f'src="data:image/{kind};base64,{data.decode()}">'
    )
