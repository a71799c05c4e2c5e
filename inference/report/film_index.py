"""The list of films beside a page, as a script that assigns it.

A page that is opened from a disk may load scripts and pictures from there, but no data
files. A line has a film, so that the list is written, and read by people, one by one.
"""

import contextlib
import dataclasses
import hashlib
import json
import pathlib
import re
from collections.abc import Callable
from collections.abc import Iterator

from data_prep.core import durable

INDEX = "films.js"
# Names that a file has without a hash: no capitals, which some disks take for small
# letters, and no devices of Windows.
_PLAIN = re.compile(r"(?!(con|prn|aux|nul|com\d|lpt\d)(\.|$))[a-z0-9][a-z0-9._-]{0,63}")
_OTHERS = re.compile(r"[^A-Za-z0-9._-]")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Film:
    """What the page says of a film.

    Attributes:
      id: the image's id.
      width: columns of the source image, in pixels.
      height: rows of the source image, in pixels.
      ratio: width of the film as its pictures are shown, divided by the height.
      area: of the mask, in pixels of the source.
      heat: whether there is a picture of its map.
      probability: of a pneumothorax, in 0..1, or None.
      area_mm2: of the mask in mm2, or None where the spacing is unknown.
      side: half of the image where the mask is, as a text, or None.
      regions: number of the mask's regions, or None.
      guard: how unlike the training films it is, with 1 as the limit, or None.
      warnings: as a text, or None.
    """

    id: str
    width: int
    height: int
    ratio: float
    area: int
    heat: bool
    probability: float | None = None
    area_mm2: float | None = None
    side: str | None = None
    regions: int | None = None
    guard: float | None = None
    warnings: str | None = None


def file_stem(image_id: str) -> str:
    """Returns a name for the files of a film, without a suffix.

    It needs no escapes in a URL or a shell, and is another one for each id even where
    the disk does not tell capitals from small letters. Ids of small letters, digits,
    dots, dashes and underscores are their own name; no other name has such a form.
    """
    if _PLAIN.fullmatch(image_id):
        return image_id
    digest = hashlib.sha256(image_id.encode()).hexdigest()[:12]
    # In front, for Windows takes a device's name with any suffix for the device.
    return f"{digest}~{_OTHERS.sub('_', image_id)[:64]}"


@contextlib.contextmanager
def writing(
    path: pathlib.Path, *, keeps_maps: bool
) -> Iterator[Callable[[Film], None]]:
    """Yields what adds a film to the list, which appears at the end.

    Args:
      path: the file.
      keeps_maps: whether the prediction has maps; if not, the page says why it shows
        none.
    """
    with durable.atomic_write(path) as aside, aside.open("w", newline="") as file:
        facts = {"keepsMaps": keeps_maps}
        file.write(f"window.FILMS_OF = {script_json(facts)};\nwindow.FILMS = [\n")

        def add(film: Film) -> None:
            known = {k: v for k, v in dataclasses.asdict(film).items() if v is not None}
            file.write(script_json(known | {"file": file_stem(film.id)}) + ",\n")

        yield add
        file.write("];\n")


def script_json(value) -> str:
    """Returns ASCII JSON that ends no <script> and is the same value in JavaScript."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
