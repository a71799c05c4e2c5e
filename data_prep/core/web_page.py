"""Self-contained HTML pages, rendered by Jinja2 from the `templates/` of a room.

The templates of this room are the frame of every page (`page.html.j2`), its parts and
its charts; every room's templates can extend and import them.
"""

import base64
import dataclasses
import functools
import hashlib
import importlib.resources

import jinja2
import numpy as np

from data_prep.core import tiles

_SHARED = "data_prep.core"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Picture:
    """An image that an `<img>` carries in its own attributes.

    Attributes:
      width: in pixels.
      height: in pixels.
      src: the encoded image as a data URL.
    """

    width: int
    height: int
    src: str


def picture(pixels: np.ndarray, *, kind: str = "png", quality: int = 0) -> Picture:
    """Encodes an image for a page.

    Args:
      pixels: [H, W] or [H, W, 3] uint8 in OpenCV's order, blue first.
      kind: "png" or "jpeg".
      quality: JPEG quality, 1 to 100.
    """
    data = base64.b64encode(tiles.encode(pixels, kind=kind, quality=quality)).decode()
    height, width = pixels.shape[:2]
    return Picture(width=width, height=height, src=f"data:image/{kind};base64,{data}")


def template(room: str, name: str) -> jinja2.Template:
    """Returns a template, which escapes all that is no HTML of another template.

    Its `render` returns a page; its `module` has its macros as functions.

    Args:
      room: the package that has the folder `templates/`, as "inference.report".
      name: the file's name.
    """
    return _environment(room).get_template(name)


def script(room: str, name: str) -> tuple[str, str]:
    """Returns a script of a room's templates, and what lets a page's policy run it.

    Args:
      room: as `template`.
      name: the file's name.

    Returns:
      The text, which must be all that its element has, and not be escaped; and the
      source for `script-src`.
    """
    text = (importlib.resources.files(room) / "templates" / name).read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return text, f"'sha256-{digest}'"


@functools.cache
def _environment(room: str) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader(
            [jinja2.PackageLoader(package) for package in (room, _SHARED)]
        ),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    # {{ 1234 | number(",") }} is format(1234, ",").
    environment.filters["number"] = format
    return environment
